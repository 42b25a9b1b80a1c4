"""Maps of a trained classifier against sources that are known, and the numbers alone.

`decision_pattern` must point at the sources of the simulation, beside spatial weights,
captum's attributions and Haufe's pattern of a linear model.
"""

from types import SimpleNamespace

import mne
import numpy as np
import pytest
import torch
from mne.decoding import LinearModel
from sklearn.linear_model import LogisticRegression

from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBARegressor,
    chs_info_from_names,
)
from braindecode_samba.plots import (
    BANDS,
    attribute_decision,
    decision_pattern,
    electrode_weights,
    log_band_power,
    with_spatial_start,
)
from braindecode_samba.signals import EEGSimulator

SFREQ = 128
SMALL = {"d_state": 4, "expand": 2}
QUICK = {"checkpoint": None, "start": "random", "max_epochs": 1, "model_params": SMALL}
ALPHA = {"alpha": (8.0, 13.0)}
# two seconds of full effect
CUT = slice(90, 346)


def correlate(a, b):
    return np.corrcoef(a, b)[0, 1]


def within(values, groups):
    centred = values.copy()
    for group in np.unique(groups):
        centred[groups == group] -= centred[groups == group].mean(0)
    return centred


def train_on_known_sources(seed, n_subjects, n_trials, max_epochs, lr):
    """Fit left against right hand; give the true map of the right hand with it.

    A motor rhythm falls opposite to the imagined hand, so the right hand's map is right
    over left: the power that each source has at an electrode by the forward model, over
    all alpha power there.
    """
    simulator = EEGSimulator(seed=seed)
    X, y, groups, info = simulator.imagery(n_subjects, n_trials)
    X = X[..., CUT]
    power = log_band_power(X, SFREQ, ALPHA)[:, 0]
    truth = np.zeros(len(info["chs"]))
    sources = np.zeros(len(info["chs"]))
    for subject in np.unique(groups):
        patterns = simulator.true_patterns(subject)
        whole = (10 ** (power[groups == subject] / 10)).mean(0)
        left, right = patterns["mu_left"] ** 2, patterns["mu_right"] ** 2
        truth += (right - left) / whole
        sources += (right + left) / whole
    decoder = SAMBAClassifier(
        ch_names=info["ch_names"],
        sfreq=SFREQ,
        checkpoint=None,
        start="random",
        max_epochs=max_epochs,
        lr=lr,
        batch_size=16,
        model_params=SMALL,
        device="cpu",
        random_state=seed,
    ).fit(X, y)
    return SimpleNamespace(
        decoder=decoder,
        X=X,
        y=y,
        groups=groups,
        info=info,
        power=power,
        truth=truth,
        sources=sources,
    )


@pytest.fixture(scope="module")
def trained():
    """Classifier of few subjects and epochs; don't fit it again."""
    return train_on_known_sources(1, n_subjects=4, n_trials=12, max_epochs=4, lr=8e-3)


@pytest.fixture(scope="module")
def tiny():
    """Classifier and windows of five electrodes, quick; don't fit it again."""
    names = ["F3", "C3", "Cz", "C4", "O2"]
    X, y, groups, _ = EEGSimulator(names).imagery(n_subjects=2, n_trials=6)
    X = X[..., 90:218]
    decoder = SAMBAClassifier(
        ch_names=names,
        sfreq=SFREQ,
        checkpoint=None,
        start="random",
        max_epochs=2,
        model_params=SMALL,
        device="cpu",
        random_state=0,
    )
    return SimpleNamespace(decoder=decoder.fit(X, y), X=X, y=y, groups=groups)


# the sources of the simulation


def test_the_pattern_points_at_the_sources_and_spatial_weights_do_not(trained):
    pattern = decision_pattern(
        trained.decoder, trained.X, groups=trained.groups, bands=ALPHA
    )[0]
    weights = electrode_weights(trained.decoder)

    assert correlate(pattern, trained.truth) > 0.7
    # they know nothing of sides, and are large at the rim, where few electrodes are
    assert abs(correlate(weights, trained.truth)) < 0.2
    assert correlate(weights, trained.sources) < 0.2


def test_the_pattern_is_in_the_band_of_the_sources(trained):
    pattern = decision_pattern(trained.decoder, trained.X, groups=trained.groups)

    strength = dict(zip(BANDS, np.abs(pattern).max(1), strict=True))
    # mu has a beta harmonic; theta has nothing of the task
    assert strength["alpha"] > 1.5 * strength["theta"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_pattern_points_at_the_sources_better_than_other_maps(seed):
    known = train_on_known_sources(
        seed, n_subjects=8, n_trials=20, max_epochs=8, lr=3e-3
    )
    X, groups = known.X, known.groups
    shares = attribute_decision(known.decoder, X[::16], target="right_hand")
    # as favourable to it as can be: within subjects, on the band of the sources
    linear = LinearModel(LogisticRegression(max_iter=1000))
    linear.fit(within(known.power, groups), known.y)
    maps = {
        "pattern": decision_pattern(known.decoder, X, groups=groups, bands=ALPHA)[0],
        "linear pattern": linear.patterns_.ravel(),
        "attribution": shares.sum(2).mean(0),
        "spatial weights": electrode_weights(known.decoder),
    }
    r = {name: round(float(correlate(m, known.truth)), 2) for name, m in maps.items()}
    sizes = np.abs(shares).mean((0, 2))
    r["size of attribution, sources"] = round(float(correlate(sizes, known.sources)), 2)
    print(f"\ncorrelation with the true map, seed {seed}: {r}")

    assert r["pattern"] > 0.8
    assert r["linear pattern"] > 0.8
    assert r["pattern"] > r["attribution"] + 0.05
    assert abs(r["spatial weights"]) < 0.2


# patterns


def test_a_pattern_is_the_change_of_power_that_comes_with_a_deviation(tiny):
    pattern = decision_pattern(tiny.decoder, tiny.X, groups=tiny.groups, bands=ALPHA)

    evidence = within(tiny.decoder.decision_function(tiny.X).astype(float), tiny.groups)
    power = within(log_band_power(tiny.X, SFREQ, ALPHA)[:, 0], tiny.groups)
    slope = [np.polyfit(evidence / evidence.std(), p, 1)[0] for p in power.T]
    np.testing.assert_allclose(pattern[0], slope, rtol=1e-6)


def test_the_pattern_of_the_other_class_has_the_other_sign(tiny):
    right, left = (
        decision_pattern(tiny.decoder, tiny.X, target=target)
        for target in ("right_hand", "left_hand")
    )
    np.testing.assert_allclose(right, -left)
    np.testing.assert_allclose(right, decision_pattern(tiny.decoder, tiny.X))


def test_strength_and_bias_of_a_subject_do_not_make_its_pattern(tiny):
    X = tiny.X.copy()
    X[tiny.groups == 2] *= 100
    plain, scaled = (
        decision_pattern(tiny.decoder, windows, groups=tiny.groups)
        for windows in (tiny.X, X)
    )
    np.testing.assert_allclose(plain, scaled, rtol=1e-3, atol=1e-4)
    assert not np.allclose(plain, decision_pattern(tiny.decoder, X), atol=0.1)


def test_patterns_follow_the_electrodes_of_epochs(tiny):
    info = mne.create_info(list(tiny.decoder.ch_names), SFREQ, "eeg")
    epochs = mne.EpochsArray(tiny.X, info, verbose="error")
    epochs.set_montage("colin27_1005", verbose="error")
    order = ["O2", "C4", "Cz", "C3", "F3"]

    pattern = decision_pattern(tiny.decoder, epochs)

    reordered = decision_pattern(tiny.decoder, epochs.copy().reorder_channels(order))
    np.testing.assert_allclose(reordered, pattern[:, ::-1], rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def aligned():
    """Classifier as it comes, whose people are aligned; don't fit it again."""
    names = ["F3", "C3", "Cz", "C4", "O2"]
    X, y, groups, _ = EEGSimulator(names).imagery(n_subjects=2, n_trials=8)
    X = X[..., 90:218]
    decoder = SAMBAClassifier(ch_names=names, sfreq=SFREQ, device="cpu")
    return SimpleNamespace(decoder=decoder.fit(X, y, groups=groups), X=X, groups=groups)


def test_the_pattern_of_an_aligned_decoder_is_of_electrodes_as_recorded(aligned):
    X, groups = aligned.X, aligned.groups

    pattern = decision_pattern(aligned.decoder, X, groups=groups, bands=ALPHA)

    evidence = aligned.decoder.decision_function(X, groups=groups).astype(float)
    evidence = within(evidence, groups)
    power = within(log_band_power(X, SFREQ, ALPHA)[:, 0], groups)
    slope = [np.polyfit(evidence / evidence.std(), p, 1)[0] for p in power.T]
    np.testing.assert_allclose(pattern[0], slope, rtol=1e-6)


def test_attributions_are_of_signals_behind_the_alignment(aligned):
    X, groups = aligned.X, aligned.groups
    louder = X * np.where(groups == 2, 100, 1)[:, None, None]
    plain, scaled = (
        attribute_decision(
            aligned.decoder, windows, groups=groups, method="input_x_gradient"
        )
        for windows in (X, louder)
    )
    np.testing.assert_allclose(scaled, plain, rtol=1e-2, atol=1e-3 * abs(plain).max())


def test_a_flat_channel_has_no_pattern(tiny):
    X = tiny.X.copy()
    X[:, 2] = 0
    assert abs(decision_pattern(tiny.decoder, X)[:, 2]).max() < 1e-9


def test_regressors_have_a_pattern_for_each_column():
    names = ["C3", "C4", "O1", "O2"]
    X, y, _, _ = EEGSimulator(names).regression(n_subjects=2, n_trials=8)
    regressor = SAMBARegressor(
        **QUICK, ch_names=names, sfreq=SFREQ, random_state=0
    ).fit(X[..., :64], y)

    alpha, side = (
        decision_pattern(regressor, X[..., :64], target=column) for column in (0, 1)
    )
    assert alpha.shape == side.shape == (3, 4)
    assert not np.allclose(alpha, side)
    with pytest.raises(ValueError, match=r"target=None is unknown: .* \[0, 1\]"):
        decision_pattern(regressor, X[..., :64])


def test_several_classes_are_told_apart_by_name():
    names = ["C3", "C4", "O1"]
    X, y, _, _ = EEGSimulator(names).imagery(1, 4, task="three_class")
    decoder = SAMBAClassifier(**QUICK, ch_names=names, sfreq=SFREQ, random_state=0).fit(
        X[..., :64], y
    )

    assert decision_pattern(decoder, X[..., :64], target="rest").shape == (3, 3)
    assert attribute_decision(decoder, X[:2, :, :64]).shape == (2, 3, 64)
    with pytest.raises(ValueError, match="target=None is unknown"):
        decision_pattern(decoder, X[..., :64])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": "feet"}, "target='feet' is unknown"),
        ({"bands": {"gamma": (30, 90)}}, "no frequency from 30 to 90 Hz"),
        ({"bands": {"slow": (0.1, 0.4)}}, "pass other bands or longer windows"),
        ({"groups": [1, 2]}, "pass one name a window"),
    ],
)
def test_patterns_that_can_not_be_are_refused(tiny, settings, words):
    with pytest.raises(ValueError, match=words):
        decision_pattern(tiny.decoder, tiny.X, **settings)


def test_a_decision_that_never_changes_has_no_pattern(tiny):
    with pytest.raises(ValueError, match="the decision is the same in all windows"):
        decision_pattern(tiny.decoder, tiny.X, groups=np.arange(len(tiny.X)))


def test_only_fitted_decoders_decide(tiny):
    features = SAMBAFeatures(ch_names=["C3"], sfreq=SFREQ)
    with pytest.raises(TypeError, match="estimator is a SAMBAFeatures"):
        decision_pattern(features, tiny.X)


# attributions


def test_shares_sum_to_the_evidence_beyond_that_of_silence(tiny):
    shares = attribute_decision(tiny.decoder, tiny.X[:4], target="right_hand")

    evidence = tiny.decoder.decision_function(tiny.X[:4]) / 2
    # the estimator refuses windows in which nothing moves; its network does not
    nothing = torch.zeros(1, *tiny.X.shape[1:])
    with torch.no_grad():
        logits = tiny.decoder.model_.eval()(nothing).numpy()
    silence = (logits[:, 1] - logits[:, 0]) / 2
    total = shares.sum((1, 2))
    np.testing.assert_allclose(total, evidence - silence, rtol=0.05, atol=0.02)


def test_attributions_explain_the_class_that_is_decided_for(tiny):
    X = tiny.X[:3]
    shares = attribute_decision(tiny.decoder, X, method="input_x_gradient")

    for row, label in enumerate(tiny.decoder.predict(X)):
        one = attribute_decision(
            tiny.decoder, X[[row]], target=label, method="input_x_gradient"
        )
        np.testing.assert_allclose(shares[row], one[0], rtol=1e-4, atol=1e-7)


def test_attributions_do_not_depend_on_the_unit_and_leave_the_network_alone(tiny):
    before = {k: v.clone() for k, v in tiny.decoder.model_.state_dict().items()}
    volts, microvolts = (
        attribute_decision(tiny.decoder, tiny.X[:1] * unit, method="saliency")
        for unit in (1, 1e6)
    )

    np.testing.assert_allclose(volts, microvolts, rtol=1e-2, atol=1e-4 * volts.max())
    for name, value in tiny.decoder.model_.state_dict().items():
        torch.testing.assert_close(value, before[name], equal_nan=True)
    assert all(
        p.grad is None or p.requires_grad for p in tiny.decoder.model_.parameters()
    )


def test_unknown_methods_of_attribution_are_refused(tiny):
    with pytest.raises(ValueError, match="method='grad_cam' is unknown"):
        attribute_decision(tiny.decoder, tiny.X, method="grad_cam")


# spatial weights


def test_shares_of_electrodes_sum_to_one(scalp_chs_info):
    model = SAMBA(n_outputs=2, chs_info=scalp_chs_info, **SMALL)
    np.testing.assert_allclose(electrode_weights(model).sum(), 1, rtol=1e-6)
    assert electrode_weights(model, target="Cz").argmax() == 4


def test_a_network_at_its_start_has_not_moved_and_one_that_learnt_has(scalp_chs_info):
    model = SAMBA(n_outputs=2, chs_info=scalp_chs_info, **SMALL)
    start = electrode_weights(with_spatial_start(model))
    np.testing.assert_array_equal(start, electrode_weights(model))

    with torch.no_grad():
        model.trunk.spatial.weights.kappa.mul_(2)
    np.testing.assert_array_equal(start, electrode_weights(with_spatial_start(model)))
    assert not np.allclose(start, electrode_weights(model), atol=1e-3)


def test_weights_of_other_electrodes_can_be_asked_for(scalp_chs_info):
    model = SAMBA(n_outputs=2, n_chans=3, **SMALL)
    assert electrode_weights(model, scalp_chs_info).shape == (9,)
    with pytest.raises(ValueError, match="built for no electrodes in particular"):
        electrode_weights(model)


def test_a_random_start_is_not_known_any_more(scalp_chs_info):
    model = SAMBA(2, chs_info=scalp_chs_info, spatial_init="published", **SMALL)
    with pytest.raises(ValueError, match="began at random"):
        with_spatial_start(model)


@pytest.mark.parametrize("target", ["XX", 94, -1])
def test_unknown_targets_are_refused(scalp_chs_info, target):
    model = SAMBA(n_outputs=2, chs_info=scalp_chs_info, **SMALL)
    with pytest.raises(ValueError, match="none of the 94 targets"):
        electrode_weights(model, target=target)


def test_only_networks_have_weights():
    with pytest.raises(TypeError, match="model is a Linear"):
        electrode_weights(torch.nn.Linear(2, 2), chs_info_from_names(["Cz"]))
