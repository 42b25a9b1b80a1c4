"""What figures promise: drawn where asked, labelled, and leaving nothing behind.

That maps show what they should is tested in `test_interpretation`.
"""

import os

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from pretraining_run import MOTOR, make_net, make_windows
from sklearn.exceptions import NotFittedError

from braindecode_samba import SAMBA, SAMBAClassifier, chs_info_from_names
from braindecode_samba.plots import (
    animate_spatial_weights,
    plot_attribution,
    plot_decision_pattern,
    plot_embedding,
    plot_evidence,
    plot_reconstruction,
    plot_scalp_map,
    plot_spatial_weights,
)
from braindecode_samba.plots.scalp import lay_out_electrodes
from braindecode_samba.plots.windows import embed_features
from braindecode_samba.pretraining import SpatialWeights
from braindecode_samba.signals import target_positions

NAMES = "Fp1 Fp2 F3 F4 C3 Cz C4 P7 P8 O1 O2".split()
CHS_INFO = chs_info_from_names(NAMES)
SMALL = {"d_state": 4, "expand": 2}


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def decoder():
    """Fitted classifier with its windows; don't fit it again."""
    X = make_windows(12, len(NAMES), 64)
    model = SAMBAClassifier(
        ch_names=NAMES,
        sfreq=128,
        checkpoint=None,
        start="random",
        max_epochs=1,
        model_params=SMALL,
        device="cpu",
        random_state=0,
    )
    return model.fit(X, ["left", "right"] * 6), X


@pytest.fixture(scope="module")
def solved():
    """Classifier as it comes, of a channel that is loud in one class; don't refit."""
    X = make_windows(24, len(NAMES), 128)
    X[::2, 4] *= 6
    model = SAMBAClassifier(ch_names=NAMES, sfreq=128, device="cpu", random_state=0)
    return model.fit(X, ["left", "right"] * 12, groups=[1] * 12 + [2] * 12)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Fitted pretraining net, and the folder of its spatial weights."""
    folder = tmp_path_factory.mktemp("weights")
    net = make_net(max_epochs=3, callbacks=[SpatialWeights(folder)])
    return net.fit(make_windows(8)), folder


@pytest.fixture
def drawings(decoder, solved, pretrained, tmp_path):
    """Every function with what it needs, and how many axes it fills."""
    model, X = decoder
    net, folder = pretrained
    features = np.random.default_rng(0).normal(size=(12, 5))
    motor = chs_info_from_names(MOTOR["ch_names"])
    labels = {"class": ["a", "b"] * 6, "subject": [1] * 6 + [2] * 6}
    file = tmp_path / "weights.gif"
    return {
        "map": (plot_scalp_map, (np.arange(11), CHS_INFO), None),
        "weights": (plot_spatial_weights, (model,), None),
        "animation": (animate_spatial_weights, (folder, file, motor), (1, 2)),
        "evidence": (plot_evidence, (solved,), None),
        "pattern": (plot_decision_pattern, (model, X), (1, 3)),
        "attribution": (plot_attribution, (model, X[:1]), (1, 2)),
        "embedding": (plot_embedding, (features, labels), (1, 2)),
        "reconstruction": (plot_reconstruction, (net, make_windows(2)), (3, 2)),
    }


KINDS = (
    "map",
    "weights",
    "animation",
    "evidence",
    "pattern",
    "attribution",
    "embedding",
    "reconstruction",
)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_drawn_where_asked_and_can_be_saved(drawings, kind, tmp_path):
    function, arguments, shape = drawings[kind]
    new = function(*arguments)
    assert plt.get_fignums() == [new.number]
    new.savefig(tmp_path / "new.png")
    plt.close(new)

    own = Figure(layout="constrained")
    axes = own.subplots(*shape) if shape else own.subplots()
    assert function(*arguments, axes=axes) is own
    assert plt.get_fignums() == []
    assert all(panel.has_data() for panel in np.ravel(axes))
    own.savefig(tmp_path / "own.png")


@pytest.mark.parametrize("kind", KINDS)
def test_figures_leave_no_trace_in_global_states(drawings, kind):
    function, arguments, _ = drawings[kind]
    settings = dict(matplotlib.rcParams)
    state = torch.get_rng_state()
    np.random.seed(5)  # noqa: NPY002 -- whether others' state is used is the question
    expected = np.random.RandomState(5)

    function(*arguments)

    assert dict(matplotlib.rcParams) == settings
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.random() == expected.random()  # noqa: NPY002


# maps


def image_of(figure, panel=0):
    return figure.axes[panel].images[0]


def test_maps_of_both_signs_are_white_at_zero_and_others_begin_there():
    signed = image_of(plot_scalp_map(np.linspace(-1, 3, 11), CHS_INFO))
    assert signed.get_clim() == (-3, 3)
    assert signed.get_cmap().name == "RdBu_r"
    positive = image_of(plot_scalp_map(np.linspace(1, 3, 11), CHS_INFO))
    assert positive.get_clim() == (0, 3)


def test_the_map_is_high_where_the_electrode_lies():
    names = [*NAMES, "F8", "FC2", "FC6", "T8", "CP2", "CP6"]
    values = np.zeros(len(names))
    values[names.index("C4")] = 1
    image = image_of(plot_scalp_map(values, chs_info_from_names(names)))

    picture = image.get_array()
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    left, right, bottom, top = image.get_extent()
    x = left + (right - left) * (column + 0.5) / picture.shape[1]
    y = bottom + (top - bottom) * (row + 0.5) / picture.shape[0]
    # to the right of the vertex, half the way to the ear; the head is 99 mm wide
    assert 0.03 < x < 0.07
    assert abs(y) < 0.02


@pytest.mark.parametrize("kind", ["biosemi64", "easycap-M1", "spherical_1005"])
def test_a_cap_on_another_sphere_is_drawn_on_that_sphere(kind):
    montage = mne.channels.make_standard_montage(kind)
    info = mne.create_info(montage.ch_names, 128, "eeg").set_montage(montage)
    positions = np.array([channel["loc"][:3] for channel in info["chs"]])
    # twins such as T3 and T7 have one place
    _, rows = np.unique(positions.round(4), axis=0, return_index=True)

    _, (*centre, radius) = lay_out_electrodes([info["chs"][row] for row in rows])

    distances = np.linalg.norm(positions - centre, axis=1)
    np.testing.assert_allclose(distances, radius, rtol=0.01)


@pytest.mark.parametrize(
    "names", [["C3", "O2"], "C5 C3 C1 Cz C2 C4 C6".split(), ["F3-C3", "F4-C4"], NAMES]
)
def test_few_electrodes_are_drawn_on_the_head_of_the_template(names):
    channels = chs_info_from_names(names)
    _, (*centre, radius) = lay_out_electrodes(channels)

    distances = np.linalg.norm(target_positions() - centre, axis=1)
    np.testing.assert_allclose(np.mean(distances), radius, rtol=0.01)
    plot_scalp_map(np.arange(len(names)), channels)


@pytest.mark.parametrize(
    ("values", "names", "words"),
    [
        ([1.0, 2.0], ["C3", "Cz", "C4"], "values have shape"),
        ([1.0, np.nan], ["C3", "C4"], "one finite number"),
        ([1.0], ["Cz"], "pass at least 2"),
        ([1.0, 2.0], ["T3", "T7"], "'T3' and 'T7' lie at the same place"),
    ],
)
def test_maps_that_can_not_be_are_refused(values, names, words):
    with pytest.raises(ValueError, match=words):
        plot_scalp_map(values, chs_info_from_names(names))
    assert plt.get_fignums() == []


def test_differences_say_to_what(decoder):
    model, _ = decoder
    other = SAMBA(n_outputs=2, n_chans=3, **SMALL)
    with torch.no_grad():
        other.trunk.spatial.weights.kappa.mul_(0.5)

    start = plot_spatial_weights(model, minus="start", target="C3")
    assert "change since the start" in start.axes[0].get_title()
    assert "target C3" in start.axes[0].get_title()
    contrast = image_of(plot_spatial_weights(model, minus=other))
    low, high = contrast.get_clim()
    assert low == -high
    assert high > 0.1


def test_all_bands_of_a_pattern_share_one_scale(decoder):
    figure = plot_decision_pattern(*decoder, target="left")
    limits = {image_of(figure, panel).get_clim() for panel in range(3)}
    assert len(limits) == 1
    assert figure.axes[0].get_title() == "theta, 4–8 Hz"
    assert "left" in figure.axes[-1].get_ylabel()


def test_the_wrong_number_of_axes_is_refused(decoder):
    with pytest.raises(ValueError, match="3 pictures and 1 axes"):
        plot_decision_pattern(*decoder, axes=Figure().subplots())


# animation


def test_the_animation_has_a_frame_an_epoch_and_ends_with_the_last(
    pretrained, tmp_path
):
    _, folder = pretrained
    motor = chs_info_from_names(MOTOR["ch_names"])
    figure = animate_spatial_weights(folder, tmp_path / "new" / "weights.gif", motor)

    with Image.open(tmp_path / "new" / "weights.gif") as gif:
        assert gif.format == "GIF"
        assert gif.n_frames == 3
    assert os.listdir(tmp_path / "new") == ["weights.gif"]
    assert "epoch 3" in figure.axes[0].get_title()


def test_an_animation_of_arrays_is_that_of_the_folder(pretrained, tmp_path):
    _, folder = pretrained
    motor = chs_info_from_names(MOTOR["ch_names"])
    arrays = [np.load(file) for file in sorted(folder.iterdir())]
    of_folder = animate_spatial_weights(folder, tmp_path / "a.gif", motor)
    of_arrays = animate_spatial_weights(arrays, tmp_path / "b.gif", motor)

    for panel in (0, 1):
        np.testing.assert_array_equal(
            image_of(of_folder, panel).get_array(),
            image_of(of_arrays, panel).get_array(),
        )


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        ([np.ones((4, 2))], ValueError, "2 electrodes and chs_info has 3"),
        ([np.ones((4, 3)), np.ones((5, 3))], ValueError, "all of one shape"),
        ([np.ones(3)], ValueError, "all of one shape"),
        ([], ValueError, "all of one shape"),
    ],
)
def test_weights_that_do_not_fit_make_no_file(tmp_path, weights, error, words):
    motor = chs_info_from_names(MOTOR["ch_names"])
    with pytest.raises(error, match=words):
        animate_spatial_weights(weights, tmp_path / "weights.gif", motor)
    with pytest.raises(FileNotFoundError, match="holds no epoch"):
        animate_spatial_weights(tmp_path, tmp_path / "weights.gif", motor)
    assert os.listdir(tmp_path) == []


# windows


def test_a_reconstruction_shows_signals_and_what_was_hidden(pretrained):
    net, _ = pretrained
    X = make_windows(2)
    figure = plot_reconstruction(net, X, window=1, n_channels=2)

    signals = figure.axes[0]
    lines = {line.get_label(): line.get_ydata() for line in signals.lines}
    scaled = net.model_.trunk.signal(torch.tensor(X[1:]).float())
    np.testing.assert_allclose(lines["original"], scaled[0, 0], rtol=1e-5, atol=1e-6)
    rebuilt = net.reconstruct(X, net.masking)[1, 0]
    np.testing.assert_allclose(lines["rebuilt"], rebuilt, rtol=1e-4, atol=1e-5)
    assert signals.get_ylabel() == "C3"
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3, 3]
    # half of the window is hidden, and shaded
    assert signals.collections[0].get_paths()


def test_windows_that_are_not_there_are_refused(pretrained):
    net, _ = pretrained
    with pytest.raises(ValueError, match="X has windows 0 to 1"):
        plot_reconstruction(net, make_windows(2), window=2)


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_embeddings_keep_what_is_alike_together_and_repeat(method):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 6)) + 20 * np.repeat([0, 1], 20)[:, None]

    places = embed_features(features, method)

    np.testing.assert_allclose(places, embed_features(features, method))
    first, second = places[:20], places[20:]
    apart = np.linalg.norm(first.mean(0) - second.mean(0))
    assert apart > 2 * first.std(0).max()


def test_every_label_has_its_colour_in_the_legend():
    features = np.random.default_rng(0).normal(size=(48, 3))
    subjects = np.arange(48) % 24
    figure = plot_embedding(features, subjects, method="pca")

    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == [str(subject) for subject in range(24)]
    colors = {tuple(points.get_facecolor()[0]) for points in axes.collections}
    assert len(colors) == 24


def test_embeddings_that_can_not_be_are_refused():
    features = np.zeros((6, 3)) + np.arange(6)[:, None]
    with pytest.raises(ValueError, match="method='lda' is unknown"):
        plot_embedding(features, np.arange(6), method="lda")
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        plot_embedding(features, np.arange(5))
    with pytest.raises(ValueError, match="labels are empty"):
        plot_embedding(features, {})
    assert plt.get_fignums() == []


def test_umap_is_asked_for_by_name_where_it_is_missing():
    features = np.random.default_rng(0).normal(size=(30, 4))
    try:
        import umap  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install umap-learn"):
            embed_features(features, "umap")
    else:
        assert embed_features(features, "umap").shape == (30, 2)


# evidence


def test_evidence_has_a_bar_for_what_explains_and_none_for_what_does_not(solved):
    figure = plot_evidence(solved)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    bars = {
        names[list(axes.get_yticks()).index(bar.get_y() + bar.get_height() / 2)]: bar
        for bar in axes.patches
    }
    assert names == list(solved.evidence_.index)
    for name, row in solved.evidence_.iterrows():
        width = bars[name].get_width() if name in bars else 0
        assert width == pytest.approx(100 * max(row["explained"], 0))
        used = name in bars and bars[name].get_facecolor()[:3] != (0.8, 0.8, 0.8)
        if width:
            assert used == (row["weight"] > 0)
    assert max(bar.get_width() for bar in bars.values()) > 50


def test_evidence_that_is_not_there_is_refused(decoder):
    with pytest.raises(ValueError, match="the head was not solved"):
        plot_evidence(decoder[0])
    with pytest.raises(TypeError, match="estimator is a SAMBA:"):
        plot_evidence(SAMBA(n_outputs=2, chs_info=CHS_INFO, **SMALL))
    with pytest.raises(NotFittedError):
        plot_evidence(SAMBAClassifier())
    assert plt.get_fignums() == []
