"""Learning: what decoders, pretraining and tables make of odd targets and files."""

import copy
import functools
import shutil

import mne
import numpy as np
from hypothesis import strategies as st

from braindecode_samba import RecordingAligner
from braindecode_samba.estimators import decode_file
from braindecode_samba.evaluation import ResumableTable, summarise
from braindecode_samba.pretraining import (
    SAMBAPretrainer,
    TrainingCheckpoint,
    WindowStore,
    write_windows,
)
from tests.fuzz.campaign import target
from tests.fuzz.files import changed, changed_json, folder, original, place
from tests.fuzz.refusals import finite
from tests.fuzz.signals import NAMES, ODD, SMALL, TOLD, few, fitted, say, windows
from tests.laboratories import record

_MARKS = st.lists(
    st.tuples(
        st.floats(0, 3.9), st.floats(0, 6), st.sampled_from(["BAD", "bad x", "EDGE"])
    ),
    max_size=3,
)


def _labels(n):
    """Draw targets: of the classes of the fit, of others, or none at all."""
    one = st.sampled_from([0, 1, 1.0, True]) | ODD
    many = st.lists(one, min_size=n, max_size=n)
    good = st.lists(st.integers(0, 1), min_size=n, max_size=n)
    forms = st.sampled_from([list, tuple, np.array, lambda y: np.array(y, object)])
    return st.tuples(good | good | many, forms)


@target(
    12,
    kind=st.sampled_from(["classifier", "aligned", "regressor"]),
    method=st.sampled_from(["calibrate", "adapt", "score"]),
    x=windows(n_windows=(4, 4), n_times=(16, 128)),
    labels=_labels(4),
    groups=st.none() | st.lists(st.sampled_from([1, 2, "a"]) | ODD, max_size=4),
)
def fitted_decoders_learn_on(kind, method, x, labels, groups):
    decoder = copy.deepcopy(fitted(kind))
    values, form = labels
    told = {} if groups is None else {"groups": groups}
    if method == "adapt":
        decoder.adapt(x, **told)
    else:
        try:
            y = form(values)
        except ValueError:  # numpy makes no array of these
            y = values
        found = getattr(decoder, method)(x, y, **told)
        if method == "score":
            finite(found)
    finite(say(decoder, x, **told))


@functools.cache
def _trained():
    """Pretrain a network, and keep the state."""
    where = folder() / "state"
    _pretrainer(callbacks=[TrainingCheckpoint(where, every_batches=1)]).fit(_X)
    return where


_X = np.random.default_rng(0).standard_normal((4, 3, 32))


def _pretrainer(**options):
    own = {"max_epochs": 1, "batch_size": 2, "random_state": 0, "verbose": 0}
    targets = [[0, 0, 0.1], [0.06, 0, 0.08], [-0.06, 0, 0.08], [0, 0.08, 0.05]]
    small = {f"module__{name}": value for name, value in SMALL.items()}
    small["module__target_positions"] = targets
    return SAMBAPretrainer(**{**TOLD, **small, **own, **options})


@target(
    6,
    x=windows(n_times=(1, 64)),
    options=few(
        batch_size=st.integers(-1, 3) | ODD,
        lr=st.sampled_from([1e-3, 0.0, 1e30]) | st.just(float("nan")),
        random_state=ODD,
        device=st.sampled_from(["cpu", "gpu", "cuda:9"]),
        module__model_sfreq=st.sampled_from([64, 128, 1e-9, -1.0]),
        sfreq=st.sampled_from([128, 250, 1e-300, "x"]),
    ),
)
def pretrainers_learn_any_windows(x, options):
    finite(_pretrainer(**options).fit(x).transform(x))


@target(6, content=st.deferred(lambda: changed_json(_state())))
def states_are_resumed_or_refused(content):
    where = place(_trained, "changed state", ("training.json", content))
    finite(_pretrainer().fit(_X, resume=where).transform(_X))


def _state():
    import json

    return json.loads((_trained() / "training.json").read_text())


@functools.cache
def _store():
    """Folder of windows of two people."""
    where = folder() / "store"
    recordings = [record(list(NAMES), n, sfreq=128) for n in (1, 2)]
    write_windows(recordings, where, subjects=["a", "b"], window_seconds=1.0)
    return where


def _files_of_a_store():
    def one(path):
        header = 128 if path.suffix == ".npy" else 600
        return st.tuples(st.just(path.name), changed(path.read_bytes(), header))

    return st.one_of(*map(one, sorted(_store().iterdir())))


@target(30, file=st.deferred(_files_of_a_store))
def stores_are_opened_or_refused(file):
    store = WindowStore(place(_store, "changed store", file))
    for row in range(len(store)):
        finite(store[row]["x"])
        finite(store[row]["pos"])


@target(
    10,
    kind=st.sampled_from(["edf", "bdf", "fif"]),
    data=st.data(),
    exclude=st.sampled_from([(), ("Cz",), "Cz", list(NAMES), ["x"], None]),
)
def files_are_decoded_or_refused(kind, data, exclude):
    path = folder() / ("decoded_raw.fif" if kind == "fif" else f"decoded.{kind}")
    path.write_bytes(data.draw(changed(original(kind), 1400)))
    decoder = copy.deepcopy(fitted("aligned"))
    for table in decode_file(decoder, path, exclude=exclude, bar=False):
        finite(table.to_numpy(float))


@target(
    15,
    x=windows(n_times=(300, 500)),
    marks=_MARKS,
    floor=st.sampled_from([1e-6, 0.5]),
    seconds=st.sampled_from([0.3, 2.0, 100.0]) | ODD,
    as_epochs=st.booleans(),
)
def recordings_are_aligned(x, marks, floor, seconds, as_epochs):
    info = mne.create_info(list(NAMES), 128.0, "eeg")
    raw = mne.io.RawArray(x[0].astype(float), info, first_samp=77, verbose="error")
    for onset, duration, text in marks:
        raw.annotations.append(onset, duration, text)
    aligner = RecordingAligner(floor=floor, window_seconds=seconds)
    if not as_epochs:
        finite(aligner.fit_transform(raw).get_data())
        return
    epochs = mne.make_fixed_length_epochs(raw, 0.5, verbose="error")
    groups = np.zeros(len(epochs.events))
    finite(aligner.fit_transform(epochs, groups=groups).get_data(verbose="error"))


@target(
    15,
    content=st.deferred(
        lambda: changed(next(_table().glob("*.json")).read_bytes(), 900)
    ),
)
def tables_are_read_or_refused(content):
    where = folder() / "changed table"
    shutil.rmtree(where, ignore_errors=True)
    table = ResumableTable(where)
    (where / "row.json").write_bytes(content)
    finite(summarise(table.to_frame())["mean"].to_numpy(float))


@functools.cache
def _table():
    where = folder() / "table"
    row = {"dataset": "a", "pipeline": "b", "subject": 1, "score": 0.5}
    ResumableTable(where).run([{"seed": 1}], lambda seed: row)
    return where
