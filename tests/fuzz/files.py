"""Files of which some bytes changed: recordings, checkpoints, decoders, montages."""

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path

import mne
import numpy as np
import torch
from hypothesis import strategies as st

from braindecode_samba import (
    SAMBAClassifier,
    SAMBAReconstructor,
    load_checkpoint,
    load_montage,
)
from braindecode_samba.pretraining.recordings import (
    CuttingSettings,
    check_recording,
    cut_recording,
)
from braindecode_samba.pretraining.sources import RecordingSource
from tests.fuzz.campaign import target
from tests.fuzz.refusals import finite
from tests.laboratories import record, write_bdf

SMALL = {"d_state": 4, "expand": 2}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=True)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
SETTINGS = CuttingSettings(window_seconds=1.0, unknown="drop")


@functools.cache
def folder():
    """Make a folder that goes with the process."""
    made = Path(tempfile.mkdtemp(prefix="samba-fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@functools.cache
def original(kind):
    """Bytes of a file as it should be."""
    path = folder() / f"original.{kind}"
    if kind == "bdf":
        signals = record(["C3", "Cz", "C4"], 1, sfreq=128).get_data()
        write_bdf(path, dict(zip(["C3", "Cz", "C4"], signals, strict=True)), 128)
    elif kind == "edf":
        raw = record(["C3", "Cz", "C4"], 1, sfreq=128)
        raw.set_annotations(mne.Annotations([1], [1], ["BAD"]))
        mne.export.export_raw(path, raw, verbose="error")
    elif kind == "fif":
        path = folder() / "original_raw.fif"
        record(["C3", "Cz", "C4"], 1, sfreq=128).save(path, verbose="error")
    elif kind == "tsv":
        names = load_montage("muse_4")
        from braindecode_samba.signals.montages import write_montage

        write_montage(path, names)
    return path.read_bytes()


@st.composite
def changed(draw, whole, header=600):
    """Draw bytes that differ from those of a file in some places."""
    found = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        size = len(found)
        if not size:
            break
        within = st.integers(0, min(header, size) - 1) | st.integers(0, size - 1)
        start = draw(within)
        how = draw(
            st.sampled_from(["flip", "write", "cut", "insert", "drop", "repeat"])
        )
        if how == "flip":
            found[start] ^= 1 << draw(st.integers(0, 7))
        elif how == "write":
            new = draw(st.binary(min_size=1, max_size=9) | st.just(b"99999999"))
            found[start : start + len(new)] = new
        elif how == "cut":
            del found[start:]
        elif how == "insert":
            found[start:start] = draw(st.binary(min_size=1, max_size=9))
        elif how == "drop":
            del found[start : start + draw(st.integers(1, 300))]
        else:
            found[start:start] = found[start : start + draw(st.integers(1, 300))]
    return bytes(found)


@st.composite
def changed_json(draw, content):
    """Draw JSON of which one value is another, or missing, or some bytes changed."""
    if draw(st.booleans()) and draw(st.booleans()):
        return draw(changed(json.dumps(content).encode()))
    whole = json.loads(json.dumps(content))
    place = whole
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and draw(st.booleans()):
            place = place[key]
            continue
        how = draw(st.sampled_from(["replace", "replace", "drop", "add"]))
        if how == "drop":
            del place[key]
        elif how == "add" and isinstance(place, dict):
            place[draw(st.text(max_size=8))] = draw(JSON)
        else:
            place[key] = draw(JSON)
        break
    return json.dumps(whole).encode()


def recordings(kind):
    """Files of one format."""
    return st.tuples(st.just(kind), st.deferred(lambda: changed(original(kind), 1400)))


@target(25, file=st.one_of(*map(recordings, ("edf", "bdf", "fif"))))
def recordings_are_read_or_refused(file):
    kind, content = file
    name = "a_raw.fif" if kind == "fif" else f"a.{kind}"
    path = folder() / name
    path.write_bytes(content)
    source = RecordingSource(path, "p", 0)
    check_recording(source, SETTINGS)
    recording, volts = cut_recording(source, "key", SETTINGS)
    finite(volts)
    finite(recording.scale)


@functools.cache
def checkpoint():
    """Folder of a small network."""
    torch.manual_seed(0)
    where = folder() / "checkpoint"
    SAMBAReconstructor(sfreq=128, **SMALL).save_pretrained(where)
    return where


@functools.cache
def decoder():
    """Folder of a fitted decoder."""
    rng = np.random.default_rng(0)
    where = folder() / "decoder"
    SAMBAClassifier(
        ch_names=["C3", "Cz", "C4"], sfreq=128, device="cpu", random_state=0
    ).fit(
        rng.standard_normal((12, 3, 64)), np.arange(12) % 2, groups=[1] * 6 + [2] * 6
    ).save_pretrained(where)
    return where


def altered(make):
    """Files of a folder, one of which is another."""

    def weights():
        whole = (make() / "model.safetensors").read_bytes()
        return st.tuples(st.just("model.safetensors"), changed(whole, 4000))

    def config():
        whole = json.loads((make() / "config.json").read_text())
        return st.tuples(st.just("config.json"), changed_json(whole))

    return st.deferred(weights) | st.deferred(config) | st.deferred(config)


def place(make, name, file):
    """Write a folder of which one file is another."""
    where = folder() / name
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(make(), where)
    (where / file[0]).write_bytes(file[1])
    return where


@target(40, file=altered(checkpoint))
def checkpoints_are_loaded_or_refused(file):
    where = place(checkpoint, "changed checkpoint", file)
    model, _ = load_checkpoint(where, SAMBAReconstructor, verbose=0)
    for value in model.parameters():
        finite(value)


@target(20, file=altered(decoder))
def decoders_are_loaded_or_refused(file):
    where = place(decoder, "changed decoder", file)
    loaded = SAMBAClassifier.from_pretrained(where, device="cpu")
    n_chans = loaded.n_features_in_
    if n_chans < 99 and loaded.n_times_ < 9999:
        x = np.random.default_rng(0).standard_normal((2, n_chans, loaded.n_times_))
        finite(loaded.predict_proba(x))
        if loaded.evidence_ is not None and len(loaded.classes_) == 2:
            y = loaded.classes_[[0, 1]]
            finite(loaded.calibrate(x, y).predict_proba(x))


@target(60, content=st.deferred(lambda: changed(original("tsv"))))
def montages_are_read_or_refused(content):
    path = folder() / "changed.tsv"
    path.write_bytes(content)
    finite(load_montage(path).positions)
