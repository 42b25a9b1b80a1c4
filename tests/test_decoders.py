"""Decoders that ship fitted: whom they have seen, what they decode and refuse."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from test_cli import fail, succeed

from braindecode_samba import SAMBAClassifier, SAMBAStream, load_montage
from braindecode_samba.checkpoints import CheckpointError
from braindecode_samba.estimators import decode_file
from braindecode_samba.signals import EEGSimulator

ROOT = Path(__file__).parents[1]
DATA = {
    "fists": ("S", [*range(1, 29), *range(40, 70)], range(29, 40), range(70, 110)),
    "eyes": ("G", range(1, 41), range(41, 61), range(61, 98)),
}
NAMES = "Fp1 Fp2 C3 Cz C4 P7 P8 O1 O2".split()

both = pytest.mark.parametrize("name", list(DATA))


def write(folder, names=NAMES, rate=None, seconds=40, band=(None, None), change=None):
    """Write simulated EEG with closed eyes in its second half: the file."""
    simulator = EEGSimulator(names, sfreq=160, seed=5)
    raw = simulator.raw(subject=1, n_trials=max(3, round(seconds / 4)))
    raw.crop(tmax=seconds, include_tmax=False).load_data()
    x = raw.get_data()
    rhythm = np.sin(2 * np.pi * 10 * raw.times) * (raw.times >= seconds / 2)
    x += 2 * simulator.true_patterns(subject=1)["alpha"][:, None] * rhythm
    if change is not None:
        change(x)
    new = mne.io.RawArray(x, raw.info, verbose="error")
    if band != (None, None):
        new.filter(*band, verbose="error")
    if rate is not None:
        new.resample(rate, verbose="error")
    new.save(folder / "some_raw.fif", verbose="error")
    return folder / "some_raw.fif"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("recording"))


@pytest.fixture(scope="module")
def eyes():
    return SAMBAClassifier.from_pretrained("eyes")


def listed(text, letter):
    """Numbers of people in a sentence, ranges written out."""
    found = set()
    for first, last in re.findall(rf"{letter}(\d+)(?: to {letter}(\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


@both
def test_its_card_names_whom_it_has_seen_and_nobody_who_is_scored(name):
    letter, trained, scored, kept = DATA[name]
    card = (ROOT / "checkpoints" / name / "README.md").read_text("utf-8")
    seen, _, rest = card.partition("## Training data")[2].partition("## Scores")
    assert listed(seen, letter) == set(trained)
    told = listed(rest.partition("## Limits")[0], letter)
    assert set(scored) <= told
    assert not told & {*trained, *kept}
    licence = {"fists": "ODC-BY 1.0", "eyes": "CC BY 4.0"}[name]
    for words in (licence, "montages", "AUC", "Not a medical device"):
        assert words in card, words


@both
def test_its_training_reads_nobody_else(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples" / "experiments")
    import train_decoders

    _, trained, scored, _ = DATA[name]
    people = {
        "fists": (train_decoders.FISTS_PEOPLE, train_decoders.FISTS_SCORED),
        "eyes": (train_decoders.EYES_PEOPLE, train_decoders.EYES_SCORED),
    }[name]
    assert [set(one) for one in people] == [set(trained), set(scored)]


@both
def test_it_is_small_fitted_and_remembers_nobody(name):
    folder = ROOT / "checkpoints" / name
    assert {file.suffix for file in folder.iterdir()} == {
        ".safetensors",
        ".json",
        ".md",
    }
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4e6
    decoder = SAMBAClassifier.from_pretrained(name)
    assert not decoder._alignment.people
    assert decoder._alignment.mode == "whiten"
    assert (decoder.evidence_["weight"] > 0).any()


@pytest.mark.parametrize("montage", ["physionetmi_64", "clinical_19", "emotiv_epoc_14"])
@both
def test_it_predicts_on_any_montage_it_serves(name, montage, make_eeg):
    decoder = SAMBAClassifier.from_pretrained(name)
    names = load_montage(montage).names
    info = mne.create_info(list(names), 250, "eeg")
    epochs = mne.EpochsArray(
        make_eeg(6, len(names), 1000).numpy(), info, verbose="error"
    )
    chances = decoder.predict_proba(epochs)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    stream = SAMBAStream(decoder.adapt(epochs), ch_names=names, sfreq=250)
    # of another rate, the end of a window is ready a little later
    assert stream.push(np.concatenate(epochs.get_data(copy=False)[:2], axis=1))


def test_a_file_is_decoded_over_time(file, tmp_path):
    output, figure = tmp_path / "eyes.csv", tmp_path / "eyes.png"
    words = ("decode", file, "--decoder", "eyes", "--figure", figure)
    printed = succeed(*words)
    assert not succeed(*words, "--output", output)
    assert output.read_text() == printed
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert list(rows[0]) == ["start", "stop", "closed", "open"]
    assert [float(row["start"]) for row in rows] == list(range(0, 40, 4))
    closed = np.array([float(row["closed"]) for row in rows])
    assert roc_auc_score(np.arange(10) >= 5, closed) > 0.9
    assert plt.imread(figure).std() > 0.01


def test_bad_and_unknown_channels_and_stretches_are_left_out(file, eyes, tmp_path):
    expected = pd.concat(decode_file(eyes, file))
    raw = mne.io.read_raw_fif(file, preload=True, verbose="error")
    more = (
        raw.copy().pick(["C3", "Cz"]).rename_channels({"C3": "thermistor", "Cz": "X1"})
    )
    more.set_montage(None)
    raw.add_channels([more])
    raw.set_annotations(mne.Annotations([8.5], [1.0], ["BAD"]))
    raw.save(tmp_path / "more_raw.fif", verbose="error")
    fresh = SAMBAClassifier.from_pretrained("eyes")
    found = pd.concat(decode_file(fresh, tmp_path / "more_raw.fif"))
    assert found["start"].tolist() == [0, 4, *range(12, 40, 4)]
    kept = expected[expected["start"] != 8]
    np.testing.assert_allclose(found["closed"], kept["closed"], atol=0.15)


REFUSED = {
    "no motor electrode": (
        "fists",
        {"names": "TP9 AF7 AF8 TP10".split()},
        "4 electrodes and too few around .*where this decoder reads",
    ),
    "too short": ("eyes", {"seconds": 3}, "lasts 3 s.*windows of 4 s"),
    "another band": ("eyes", {"band": (None, 3)}, "holds 0.5 to 3 Hz.*reads 0.5 to 45"),
    "rate too low": ("fists", {"rate": 20}, "rate of 20 Hz.*reads 4 to 38 Hz"),
    "flat": (
        "eyes",
        {"change": lambda x: x[3].fill(1e-5)},
        "Cz stand still.*--exclude",
    ),
    "clipped": (
        "eyes",
        {"change": lambda x: x[3].clip(-2e-6, 2e-6, out=x[3])},
        "Cz stand still, flat or clipped",
    ),
    "NaN": ("eyes", {"change": lambda x: x[3, 5:9].fill(np.nan)}, "NaN or infinity"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_decoded_is_refused_in_a_sentence(case, tmp_path):
    name, options, words = REFUSED[case]
    file = write(tmp_path, **options)
    goal = tmp_path / "out.csv"
    said = fail(1, "decode", file, "--decoder", name, "--output", goal)
    assert re.search(words, said), said
    assert str(file) in said
    assert not goal.exists()


def test_a_flat_channel_can_be_left_out(tmp_path):
    file = write(tmp_path, change=lambda x: x[3].fill(1e-5))
    assert succeed("decode", file, "--decoder", "eyes", "--exclude", "Cz")
    said = fail(1, "decode", file, "--decoder", "eyes", "--exclude", "Czz")
    assert "no channel Czz" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--decoder", "fist"], "'fist' is no file"),
        (["--decoder", "samba-e"], "no fitted estimator"),
        (["--decoder", "eyes", "--output", "gone/x.csv"], "no folder gone"),
        ([], "required: --decoder"),
    ],
)
def test_wrong_words_are_refused(file, words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = 1 if words and "gone/x.csv" not in words else 2
    assert sentence in fail(code, "decode", file, *words)


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "no.edf").write_text("nothing")
    for file in (tmp_path / "no.edf", tmp_path / "gone.edf"):
        assert str(file) in fail(1, "decode", file, "--decoder", "eyes")


def test_windows_of_another_kind_are_refused(make_eeg):
    decoder = SAMBAClassifier.from_pretrained("fists")
    names = list(load_montage("clinical_19").names)
    info = mne.create_info(names, 128, "eeg")
    epochs = mne.EpochsArray(make_eeg(4, 19, 384).numpy(), info, verbose="error")
    assert len(decoder.predict_proba(epochs)) == 4
    low = epochs.copy().filter(None, 7, verbose="error")
    for other, words in [
        (epochs.copy().crop(tmax=1), "windows of 1.01 s.*windows of 3 s"),
        (low, "holds 0.5 to 7 Hz"),
        (epochs.copy().pick(["O1", "O2"]), "too few around"),
    ]:
        with pytest.raises(ValueError, match=words):
            decoder.predict_proba(other)
        with pytest.raises(ValueError, match=words):
            decoder.adapt(other)


def filtered(epochs, low, high):
    """Say that filters have left a band."""
    other = epochs.copy()
    with other.info._unlock():
        other.info["highpass"], other.info["lowpass"] = low, high
    return other


@pytest.fixture(scope="module")
def few():
    X, y, groups, info = EEGSimulator(["C3", "Cz", "C4"], sfreq=250).imagery(2, 4)
    return mne.EpochsArray(X, info, verbose="error"), y, groups


@pytest.mark.parametrize(
    "change",
    [
        lambda epochs: filtered(epochs, 10, 10),
        lambda epochs: filtered(epochs, 50, 45),
        lambda epochs: filtered(epochs, 125, 125),
        lambda epochs: filtered(epochs, 0, 0.5),
        # recordings that have nothing in common
        lambda epochs: [filtered(epochs[:8], 1, 9), filtered(epochs[8:], 12, 40)],
    ],
)
@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_a_fit_without_a_band_is_refused_and_leaves_nothing(few, fit, change):
    epochs, y, groups = few
    gradients = {"start": "random", "max_epochs": 1} if fit == "partial_fit" else {}
    decoder = SAMBAClassifier(checkpoint=None, **gradients)
    words = r"X holds [\d.]+ to [\d.]+ Hz at a rate of 250 Hz, and there is nothing"
    with pytest.raises(ValueError, match=words):
        getattr(decoder, fit)(change(epochs), y, groups=groups)
    assert not hasattr(decoder, "net_")


@pytest.mark.parametrize("band", [(60, 100), (0.1, 0.4), (1, 40), (0, 125)])
def test_a_fit_of_any_band_reads_its_own_kind(few, band):
    epochs, y, groups = few
    # where many headsets are served, others are refused
    decoder = SAMBAClassifier(checkpoint=None, montages=[["C3", "C4"]], random_state=0)
    own = filtered(epochs, *band)
    decoder.fit(own, y, groups=groups)
    assert np.isfinite(decoder.predict_proba(own)).all()
    if band[1] > 45 and band[0] > 0:
        decoder.predict_proba(epochs)
    for other in ((2000, 3000), (10, 10), (50, 45)):
        with pytest.raises(ValueError, match="and the decoder reads .* Hz: record"):
            decoder.predict_proba(filtered(epochs, *other))


@pytest.mark.parametrize("band", [[10, 10], [38, 4]])
def test_a_saved_band_without_width_is_refused(band, tmp_path):
    shutil.copytree(ROOT / "checkpoints" / "fists", tmp_path / "fists")
    config = tmp_path / "fists" / "config.json"
    told = json.loads(config.read_text())
    told["estimator"]["usage"]["band"] = band
    config.write_text(json.dumps(told))
    with pytest.raises(
        CheckpointError, match=r"tells of no SAMBAClassifier \(its band"
    ):
        SAMBAClassifier.from_pretrained(tmp_path / "fists")
