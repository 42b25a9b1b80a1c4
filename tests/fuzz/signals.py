"""Signals: windows, streams, recordings and masks, as bad amplifiers give them."""

import functools

import mne
import numpy as np
import torch
from hypothesis import strategies as st

from braindecode_samba import (
    SAMBA,
    RecordingAligner,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBAReconstructor,
    SAMBARegressor,
    SAMBAStream,
    chs_info_from_names,
    positions_from_names,
)
from braindecode_samba.pretraining import (
    Masking,
    TimeFrequencyLoss,
    block_mask,
    random_mask,
    region_mask,
    temporal_semantic_mask,
)
from braindecode_samba.signals import mirror_windows
from tests.fuzz.campaign import target
from tests.fuzz.refusals import finite

SMALL = {"d_state": 4, "expand": 2}
NAMES = ("C3", "Cz", "C4")
TOLD = {"ch_names": NAMES, "sfreq": 128}
_MASKS = (temporal_semantic_mask, random_mask, block_mask)
# what callers mistake for an argument
ODD = st.sampled_from(
    [None, "", "x", -1, 0, 2.5, float("nan"), float("inf"), True, [], {}, ("a",), b"x"]
)


@st.composite
def few(draw, **options):
    """Draw some of the options, at most two: more of them are refused at once."""
    names = draw(st.lists(st.sampled_from(sorted(options)), max_size=2, unique=True))
    return {name: draw(options[name]) for name in names}


@st.composite
def windows(draw, n_windows=(1, 3), n_chans=(3, 3), n_times=(16, 80)):
    """Draw windows (n, channels, times): noise with the worst that amplifiers do."""
    ends = (n_windows, n_chans, n_times)
    shape = tuple(draw(st.integers(*one)) for one in ends)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    x = rng.standard_normal(shape)
    for channel in range(shape[1]):
        fault = draw(
            st.sampled_from(["none", "flat", "rail", "spike", "step", "offset"])
        )
        part = x[:, channel]
        if fault == "flat":
            part[:] = draw(st.sampled_from([0.0, 1.0, -3e4]))
        elif fault == "rail":
            part[:] = np.clip(part * 100, -1, 1)
        elif fault == "spike":
            part[:, rng.integers(shape[2])] = 1e6
        elif fault == "step":
            part[:, shape[2] // 2 :] += 1e4
        elif fault == "offset":
            part += 1e5
    exponent = draw(st.floats(-12, 12))
    # numbers beyond float32 are no float32 amplitudes
    x = x / max(1.0, np.abs(x).max()) * 10.0**exponent
    return x.astype(np.float32)


@functools.cache
def model(kind):
    """Build a small network."""
    torch.manual_seed(0)
    own = {"chs_info": chs_info_from_names(NAMES), **SMALL}
    if kind == "reconstructor":
        return SAMBAReconstructor(sfreq=128, **own).eval()
    options = {
        "classifier": {"sfreq": 128},
        "resampling": {"sfreq": 250},
        "variance": {"head": "variance"},
        "readings": {"head": "readings"},
        "each channel": {"scale": "channel"},
    }
    return SAMBA(n_outputs=2, **own, **options[kind]).eval()


MODELS = (
    "classifier",
    "reconstructor",
    "resampling",
    "variance",
    "readings",
    "each channel",
)


@functools.cache
def fitted(kind):
    """Fit an estimator on noise."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 3, 128)), np.arange(12) % 2
    quick = {"random_state": 0, "device": "cpu"}
    if kind == "features":
        return SAMBAFeatures(**TOLD, **quick, layer="pool3", pooling="mean").fit(x)
    if kind == "regressor":
        return SAMBARegressor(**TOLD, **quick).fit(x, y)
    groups = np.repeat([1, 2, 3], 4) if kind == "aligned" else None
    return SAMBAClassifier(**TOLD, **quick).fit(x, y, groups=groups)


FITTED = ("classifier", "aligned", "regressor", "features")


def say(estimator, x, **names):
    """Predict or transform."""
    if isinstance(estimator, SAMBAFeatures):
        return estimator.transform(x)
    if isinstance(estimator, SAMBAClassifier):
        return estimator.predict_proba(x, **names)
    return estimator.predict(x, **names)


@target(60, kind=st.sampled_from(MODELS), x=windows())
def models_take_any_windows(kind, x):
    with torch.no_grad():
        finite(model(kind)(torch.from_numpy(x)))


@target(4, x=windows(n_times=(16, 60)))
def gradients_are_finite(x):
    network = SAMBA(
        n_outputs=2, chs_info=chs_info_from_names(NAMES), drop_prob=0, **SMALL
    )
    network(torch.from_numpy(x)).square().sum().backward()
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.grad is not None:
            finite(parameter.grad)


@target(
    60,
    shape=st.lists(st.integers(0, 20), min_size=1, max_size=4),
    dtype=st.sampled_from(
        [torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64]
    ),
    pos_shape=st.none() | st.lists(st.integers(0, 4), min_size=1, max_size=3),
    mask_shape=st.none() | st.lists(st.integers(0, 4), min_size=1, max_size=3),
    kind=st.sampled_from(MODELS),
)
def models_take_any_tensors(shape, dtype, pos_shape, mask_shape, kind):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(dtype)
    pos = None if pos_shape is None else torch.rand(pos_shape, generator=generator) / 9
    mask = None
    if mask_shape is not None:
        mask = torch.rand(mask_shape, generator=generator) > 0.3
    with torch.no_grad():
        finite(model(kind)(x, pos, mask))


@target(
    16,
    options=few(
        **{
            "model_sfreq": st.sampled_from([0, -1, 64, 100.0, 128, float("nan"), "x"]),
            "sfreq": st.sampled_from([0, -5, 127.3, 128, 5000, float("inf")]),
            "scale": st.sampled_from(["window", "channel", None, "volts", 3]),
            "spatial_init": st.sampled_from(["distance", "published", "", None]),
            "head": st.sampled_from(["power", "variance", "readings", "linear", None]),
            "d_state": st.integers(-1, 4) | ODD,
            "d_conv": st.integers(-1, 4),
            "expand": st.integers(-1, 3),
            "coordinate_frame": st.sampled_from(["head", "colin27_mri", "mri"]),
            "drop_prob": st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
            "target_positions": st.sampled_from(
                [[[0, 0, 0.1]], [], [[0, 0]], [[float("nan")] * 3], [[0, 0, 90]]]
            ),
        },
    ),
)
def models_take_any_options(options):
    chs_info = chs_info_from_names(NAMES)
    network = SAMBA(n_outputs=2, chs_info=chs_info, **{**SMALL, **options}).eval()
    x = torch.randn(1, 3, 1600, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        finite(network(x))


@target(
    10,
    kind=st.sampled_from([SAMBAClassifier, SAMBARegressor, SAMBAFeatures]),
    x=windows(n_windows=(1, 4), n_chans=(1, 3), n_times=(1, 80)),
    start=st.sampled_from(["solved", "random"]),
    options=few(
        **{
            "batch_size": st.integers(-1, 3) | ODD,
            "max_epochs": st.integers(-1, 2) | ODD,
            "lr": st.sampled_from([1e-3, 0.0, 1e30, "x"]),
            "align": ODD,
            "montages": st.sampled_from([["muse_4"], ["nope"], [["Cz"]], "muse_4"]),
            "mirror": st.sampled_from([{0: 1}, {0: 0}, {5: 6}, {}, 3]),
            "validation_split": st.sampled_from([0.3, 0.0, 1.5, "x"]),
            "finetune": st.sampled_from(["all", "head", 0, 6, 7, "x", None]),
            "random_state": ODD,
            "device": st.sampled_from(["cpu", "gpu", "auto", "", None, 3]),
            "verbose": ODD,
            "exclude": st.sampled_from(["bads", "Cz", ["Cz"], [], list(NAMES), 3]),
        },
    ),
)
def estimators_fit_any_windows(kind, x, start, options):
    own = {"model_params": SMALL, "device": "cpu", "random_state": 0}
    if kind is SAMBAFeatures:
        names = ("batch_size", "random_state", "device", "verbose", "exclude")
        options = {name: options[name] for name in names if name in options}
        own["checkpoint"] = None
    else:
        own |= {"start": start, "checkpoint": None}
        own["max_epochs"] = int(start == "random")
    told = {"ch_names": NAMES[: x.shape[1]], "sfreq": 128}
    estimator = kind(**told, **{**own, **options})
    x = np.concatenate([x, x + 1])
    y = np.arange(len(x)) % 2
    finite(say(estimator.fit(x, y), x))


@target(
    20,
    kind=st.sampled_from(FITTED),
    x=windows(n_chans=(1, 4), n_times=(1, 200)),
    dtype=st.sampled_from([np.float32, np.float64, np.int16, complex, object, str]),
    spoil=st.sampled_from(["", "NaN", "inf", "list", "flat", "two", "turned", "huge"]),
    groups=st.none() | st.lists(st.integers(0, 2) | ODD, max_size=3),
)
def fitted_estimators_take_any_arrays(kind, x, dtype, spoil, groups):
    x = x.astype(dtype) if dtype is not str else x.astype("U9")
    if spoil in ("NaN", "inf") and x.dtype.kind == "f":
        x[-1, 0, -1] = float(spoil)
    elif spoil == "huge" and x.dtype == np.float64:
        x = x * 1e290
    elif spoil == "list":
        x = x.tolist()
    elif spoil == "flat":
        x = np.zeros(x.shape)
    elif spoil == "two":
        x = x[0]
    elif spoil == "turned":
        x = x.transpose(0, 2, 1)
    names = {} if groups is None else {"groups": groups}
    finite(say(fitted(kind), x, **names))


@target(
    8,
    kind=st.sampled_from(FITTED),
    x=windows(n_chans=(1, 4), n_times=(1, 300)),
    sfreq=st.sampled_from([1.0, 64.0, 127.3, 128.0, 250.0, 1000.0]),
    names=st.lists(
        st.sampled_from(["C3", "Cz", "C4", "Oz", "Fp1-F7", "ECG", "E7", "x", "T3"]),
        min_size=4,
        max_size=4,
        unique=True,
    ),
    kinds=st.lists(
        st.sampled_from(["eeg", "eeg", "eeg", "eog", "misc", "stim"]),
        min_size=4,
        max_size=4,
    ),
    bads=st.integers(0, 4),
    several=st.booleans(),
)
def fitted_estimators_take_any_epochs(kind, x, sfreq, names, kinds, bads, several):
    n = x.shape[1]
    info = mne.create_info(names[:n], sfreq, kinds[:n])
    info["bads"] = names[: min(bads, n)]
    epochs = mne.EpochsArray(x.astype(float), info, verbose="error")
    items = [epochs, epochs.copy().crop(0, epochs.times[-1] / 2)] if several else epochs
    finite(say(fitted(kind), items))


@target(
    20,
    x=windows(n_times=(1, 1500)),
    sfreq=st.sampled_from([100.0, 128.0, 250.0, 127.0]),
    marks=st.lists(
        st.tuples(st.floats(-1, 12), st.floats(0, 6), st.sampled_from(["BAD", "x"])),
        max_size=3,
    ),
    options=few(
        **{
            "window_seconds": st.sampled_from([0.5, 1, 2.0, 100, 1e-9]) | ODD,
            "stride_seconds": st.sampled_from([0.5, 1, 2.0, 100, 1e-9]) | ODD,
            "bad": st.sampled_from(["mark", "use", "x", None]),
        },
    ),
    as_array=st.booleans(),
)
def recordings_are_encoded(x, sfreq, marks, options, as_array):
    recording = x[0]
    if not as_array:
        info = mne.create_info(list(NAMES), sfreq, "eeg")
        raw = mne.io.RawArray(recording.astype(float), info, verbose="error")
        for onset, duration, text in marks:
            if 0 <= onset <= raw.times[-1]:
                raw.annotations.append(onset, duration, text)
        recording = raw
    finite(fitted("features").transform_recording(recording, **options))


@target(
    20,
    x=windows(n_times=(64, 400)),
    kind=st.sampled_from(["network", "aligned", "regressor"]),
    pieces=st.lists(st.integers(0, 90), min_size=1, max_size=12),
    options=few(
        **{
            "hop_seconds": st.sampled_from([0.1, 0.25, 3.0]) | ODD,
            "window_seconds": st.sampled_from([0.5, 1.0, 0.01]) | ODD,
            "sfreq": st.sampled_from([128, 250, 100.5]) | ODD,
            "band": st.sampled_from([(4, 38), (None, 30), (50, 4), (0, 90)]) | ODD,
            "layout": st.sampled_from(["channels_first", "samples_first", "x"]),
            "learning": st.booleans(),
            "half_life_seconds": st.sampled_from([10.0, 0, -1]) | ODD,
            "exclude": st.sampled_from([(), ("Cz",), NAMES, ("x",)]),
            "ch_names": st.sampled_from([NAMES, ("Cz",), ("C3", "x"), "Cz", ()]),
        },
    ),
    spoil=st.sampled_from(["", "", "NaN", "list", "turned", "text", "ragged"]),
)
def streams_take_any_pieces(x, kind, pieces, options, spoil):
    decoder = model("classifier") if kind == "network" else fitted(kind)
    if kind == "network":
        options = {"window_seconds": 0.5, **options}
    stream = SAMBAStream(decoder, **options)
    start = 0
    for length in pieces:
        piece = x[0][:, start : start + length].copy()
        start += length
        if spoil == "NaN" and piece.size:
            piece[0, 0] = np.nan
        elif spoil == "list":
            piece = piece.tolist()
        elif spoil == "turned":
            piece = piece.T
        elif spoil == "text":
            piece = "text"
        elif spoil == "ragged":
            piece = [[1.0], [2.0, 3.0], []]
        for prediction in stream.push(piece):
            finite(prediction.output)


@target(
    40,
    function=st.sampled_from(_MASKS),
    batch=st.integers(0, 3),
    n_times=st.integers(-1, 60),
    ratio=st.floats(-0.5, 1.5) | st.just(float("nan")),
)
def masks_hide_and_show_something(function, batch, n_times, ratio):
    generator = torch.Generator().manual_seed(0)
    mask = function(batch, n_times, ratio=ratio, generator=generator)
    assert mask.dtype == torch.bool
    assert mask.shape == (batch, n_times)
    assert mask.any(1).all()
    assert not mask.all(1).any()


@target(
    40,
    n_channels=st.integers(1, 6),
    n_times=st.integers(0, 60),
    ratio=st.floats(-0.1, 1.1),
    radius=st.floats(-0.1, 0.5),
    span=st.integers(-1, 80),
)
def regions_hide_and_show_something(n_channels, n_times, ratio, radius, span):
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(2, n_channels, 3, generator=generator) * 0.1
    options = {"ratio": ratio, "radius": radius, "span": span}
    mask = region_mask(positions, n_times, **options, generator=generator)
    assert mask.shape == (2, n_channels, n_times)
    assert mask.flatten(1).any(1).all()
    assert not mask.flatten(1).all(1).any()


@target(
    20,
    kind=st.sampled_from(["tsr", "random", "blocks", "regions", "x"]) | ODD,
    ratio=st.floats(-0.5, 1.5) | ODD,
)
def settings_of_masks_are_possible(kind, ratio):
    assert 0 < Masking(kind=kind, ratio=ratio).ratio < 1


@target(30, x=windows(), norm=st.sampled_from(["ortho", "backward", "x", None]))
def losses_are_finite(x, norm):
    # what is compared is scaled: of the size of one robust deviation, or a rail
    scaled = torch.from_numpy(x / max(np.abs(x).max(), 1e-30))
    finite(TimeFrequencyLoss(norm=norm)(scaled, torch.zeros_like(scaled)))


@target(
    30,
    x=windows(n_times=(1, 60)),
    groups=st.none() | st.lists(st.integers(0, 1) | ODD, max_size=3),
    floor=st.sampled_from([1e-6, 0.5, 0, 2, "x"]),
)
def alignment_is_finite(x, groups, floor):
    if groups is None:
        groups = np.zeros(len(x), int)
    finite(RecordingAligner(floor=floor).fit_transform(x, groups=groups))


@target(
    20,
    x=windows(),
    pairs=st.dictionaries(st.integers(0, 2), st.integers(0, 2), max_size=3),
)
def mirrored_windows_are_finite(x, pairs):
    positions = positions_from_names(NAMES)
    y = np.arange(len(x)) % 2
    mirrored, labels = mirror_windows(x, y, positions, pairs, random_state=0)
    finite(mirrored)
    assert set(labels.tolist()) <= {0, 1, 2}
