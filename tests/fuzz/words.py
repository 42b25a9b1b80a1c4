"""Words: configs, command lines, names and descriptions of channels."""

import contextlib
import functools
import io
import shutil
from unittest import mock

import mne
import numpy as np
from hypothesis import strategies as st

from braindecode_samba import cli, positions_from_names
from braindecode_samba.pretraining.config import Config, read_config, shipped_configs
from braindecode_samba.signals.montages import positions_from_chs_info
from tests.fuzz.campaign import target
from tests.fuzz.files import JSON, changed, changed_json, decoder, folder, original
from tests.fuzz.refusals import finite
from tests.fuzz.signals import ODD

_CONFIG = {
    "windows": {"window_seconds": 1.0},
    "model": {"d_state": 4, "expand": 2},
    "training": {"epochs": 1, "batch_size": 4},
}


def _whole_config():
    return read_config("small").model_dump(mode="json")


@target(80, content=st.deferred(lambda: changed_json(_whole_config())))
def configs_are_read_or_refused(content):
    path = folder() / "changed.json"
    path.write_bytes(content)
    assert isinstance(read_config(str(path)), Config)


@target(
    80,
    names=st.lists(
        st.sampled_from(["Cz", "FP1", "EEG T3-REF", "E7", "Fp1-F7", "C3..", "A1"])
        | st.text(max_size=12),
        max_size=5,
    )
    | ODD,
)
def names_have_a_place_or_none(names):
    found = positions_from_names(names, unknown="nan")
    known = np.isfinite(found).all(axis=1)
    assert (np.linalg.norm(found[known], axis=1) < 0.2).all()


_PLACES = st.lists(
    st.floats(-0.2, 0.2) | st.sampled_from([float("nan"), 1e300, 90.0, 0.0]),
    min_size=0,
    max_size=12,
)


@target(
    80,
    channels=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "ch_name": st.sampled_from(["Cz", "C3", "E7", "O1"]) | ODD,
                "loc": _PLACES | ODD,
                "kind": ODD,
                "coord_frame": st.sampled_from([4, 5, 1]) | ODD,
            },
        )
        | ODD,
        max_size=4,
    )
    | ODD,
)
def channels_have_a_place_or_are_refused(channels):
    finite(positions_from_chs_info(channels))


@functools.cache
def _made():
    """Make recordings, their windows and a config, for command lines."""
    where = folder() / "commands"
    for person in ("p1", "p2"):
        path = where / "recordings" / person / "a.edf"
        path.parent.mkdir(parents=True)
        path.write_bytes(original("edf"))
    shutil.copytree(decoder(), where / "decoder")
    noise = 1e-5 * np.random.default_rng(0).standard_normal((3, 128 * 5))
    info = mne.create_info(["C3", "Cz", "C4"], 128.0, "eeg")
    good = mne.io.RawArray(noise, info, verbose="error")
    mne.export.export_raw(where / "good.edf", good, verbose="error")
    config = where / "tiny.json"
    import json

    config.write_text(json.dumps(_CONFIG))
    with contextlib.redirect_stdout(io.StringIO()):
        words = ["prepare", str(where / "recordings"), "--config", str(config)]
        assert cli.main([*words, "--stores", str(where / "stores")]) == 0
    return where


_NUMBERS = st.sampled_from(["0", "1e-6", "-1", "nan", "x", "", "0.0001"])
_WORDS = st.sampled_from(
    ["--help", "--version", "--bogus", "info", "config", "small", "--", "-1", "", "x"]
)


@st.composite
def command_lines(draw):
    """Draw the words of a command."""
    where = draw(st.just("WHERE"))
    kinds = ["info", "config", "prepare", "pretrain", "decode", "decode", "odd"]
    kind = draw(st.sampled_from(kinds))
    if kind == "odd":
        return draw(st.lists(_WORDS, max_size=4))
    words = [kind]
    if kind == "config":
        words += draw(st.lists(st.sampled_from([*shipped_configs(), "x"]), max_size=2))
    if kind == "prepare":
        words += [f"{where}/{draw(st.sampled_from(['recordings', 'nope', 'broken']))}"]
        words += ["--stores", f"{where}/{draw(st.sampled_from(['new', 'stores']))}"]
    if kind == "pretrain":
        stores = draw(st.sampled_from(["stores", "nope", "recordings"]))
        words += ["--stores", f"{where}/{stores}", "--output", f"{where}/run"]
        words += ["--max-minutes", draw(_NUMBERS), "--device", "cpu"]
    if kind == "decode":
        file = draw(st.sampled_from(["good.edf", "broken/p3/b.edf", "nope", ""]))
        name = draw(st.sampled_from(["decoder", "decoder", "nope", "stores"]))
        words += [f"{where}/{file}", "--decoder", f"{where}/{name}"]
        if draw(st.booleans()):
            place = draw(st.sampled_from(["run.csv", "run", "no/x.csv", "", "run.png"]))
            option = draw(st.sampled_from(["--output", "--output", "--figure"]))
            words += [option, f"{where}/{place}"]
        if draw(st.booleans()):
            words += ["--exclude", draw(st.sampled_from(["C3", "x", "", "Cz"]))]
    if kind in ("prepare", "pretrain"):
        words += ["--config", draw(st.sampled_from([f"{where}/tiny.json", "nope"]))]
        more = {
            "prepare": [
                ["--dry-run"],
                ["--skip-broken"],
                ["--subject", "(p.)"],
                ["--subject", "("],
                ["--subject", "zzz"],
            ],
            "pretrain": [
                ["--device", "gpu"],
                ["--workers", "-1"],
                ["--every-batches", "0"],
                ["--init", "nope"],
                ["--init", "samba-t"],
                ["--workers", "x"],
            ],
        }
        for words_too in draw(st.lists(st.sampled_from(more[kind]), max_size=2)):
            words += words_too
    if draw(st.integers(0, 3)) == 0:
        words.insert(draw(st.integers(0, len(words))), draw(_WORDS))
    return words


@target(
    6,
    words=command_lines(),
    broken=st.deferred(lambda: changed(original("edf"), 800)),
    option=JSON,
)
def commands_end_as_they_say(words, broken, option):
    where = _made()
    for made in ("new", "run", "broken"):
        shutil.rmtree(where / made, ignore_errors=True)
    for made in where.glob("run*"):
        made.unlink()
    (where / "broken" / "p3").mkdir(parents=True)
    (where / "broken" / "p3" / "b.edf").write_bytes(broken)
    shutil.copytree(where / "recordings", where / "broken", dirs_exist_ok=True)
    said, errors, failures = io.StringIO(), io.StringIO(), []
    fail = cli._fail

    def listen(reason, code):
        failures.append(reason)
        return fail(reason, code)

    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(errors),
        mock.patch.object(cli, "_fail", listen),
    ):
        try:
            code = cli.main([word.replace("WHERE", str(where)) for word in words])
        except SystemExit as end:
            code = end.code
    assert code in (0, 1, 2), code
    # an error of the command line's is one sentence, and a refusal of ours
    for reason in failures:
        if isinstance(reason, Exception):
            raise reason
