"""Files that stop in the middle, or are none: named wherever they are read."""

import mne
import numpy as np
import pytest

from braindecode_samba import RecordingAligner, SAMBAClassifier, SAMBAFeatures
from braindecode_samba.estimators import decode_file
from braindecode_samba.pretraining import RecordingError, write_windows
from tests.laboratories import write_bdf
from tests.test_cli import fail, succeed

NAMES = ["C3", "Cz", "C4"]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3, 128))
VOLTS = 1e-5 * RNG.standard_normal((3, 128 * 20))


def make_raw():
    return mne.io.RawArray(VOLTS, mne.create_info(NAMES, 128.0, "eeg"), verbose="error")


@pytest.fixture(scope="module")
def decoder():
    kind = SAMBAClassifier(ch_names=NAMES, sfreq=128, random_state=0)
    return kind.fit(X, np.arange(12) % 2, groups=np.arange(12) // 6)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A recording in three formats."""
    folder = tmp_path_factory.mktemp("whole")
    mne.export.export_raw(folder / "a.edf", make_raw(), verbose="error")
    write_bdf(folder / "a.bdf", dict(zip(NAMES, VOLTS, strict=True)), 128)
    make_raw().save(folder / "a_raw.fif", verbose="error")
    return folder


def readers(decoder):
    return (
        lambda path: list(decode_file(decoder, path)),
        lambda path: write_windows([path], path.parent / "store", subjects=["a"]),
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.edf", b""),
        ("a.edf", b"<html>404</html>"),
        ("a.bdf", b"\xffBIOSEMI"),
        ("a_raw.fif", b""),
        ("a_raw.fif.gz", b"\x1f\x8b"),
        ("a.set", b"MATLAB 5.0 MAT-file"),
        ("a.vhdr", b""),
        ("a.gdf", b"GDF 2.10" + bytes(300)),
        ("a.txt", b"1 2 3"),
    ],
)
def test_files_that_are_none_are_named(decoder, name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    for read in readers(decoder):
        with pytest.raises(RecordingError, match=str(path)):
            read(path)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["a.edf", "a.bdf", "a_raw.fif", "a.set"])
def test_folders_and_links_that_lead_nowhere_are_named(decoder, name, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).mkdir()
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / name, tmp_path / "folder" / name):
        for read in readers(decoder):
            with pytest.raises((RecordingError, FileNotFoundError), match=str(path)):
                read(path)


@pytest.mark.parametrize("kind", ["edf", "bdf"])
@pytest.mark.parametrize("n_bytes", [1, 3000])
def test_a_recording_that_is_cut_off_is_used_and_named(
    decoder, whole, kind, n_bytes, tmp_path
):
    path = tmp_path / f"cut.{kind}"
    path.write_bytes((whole / f"a.{kind}").read_bytes()[:-n_bytes])
    for read in readers(decoder):
        with pytest.warns(RuntimeWarning, match=f"{path} is cut off.*header says 20 s"):
            assert len(read(path))


def test_whole_ones_are_read_without_a_word(decoder, whole, tmp_path, recwarn):
    for name in ("a.edf", "a.bdf", "a_raw.fif"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
        for read in readers(decoder):
            assert len(read(tmp_path / name))
    assert not [one for one in recwarn if "cut off" in str(one.message)]


def test_a_fif_file_whose_samples_are_cut_off_is_named(decoder, whole, tmp_path):
    path = tmp_path / "cut_raw.fif"
    path.write_bytes((whole / "a_raw.fif").read_bytes()[:-9000])
    for read in readers(decoder):
        with pytest.raises(RecordingError, match=str(path)):
            read(path)


def test_a_lost_part_of_a_split_file_is_named(decoder, tmp_path):
    path = tmp_path / "big_raw.fif"
    info = mne.create_info(NAMES, 128.0, "eeg")
    raw = mne.io.RawArray(np.zeros((3, 200_000)), info, verbose="error")
    raw.save(path, split_size="2MB", verbose="error")
    (tmp_path / "big_raw-1.fif").unlink()
    for read in readers(decoder):
        with pytest.raises(RecordingError, match=r"big_raw-1\.fif"):
            read(path)


def test_a_recording_that_vanishes_before_it_is_read_is_named(tmp_path):
    path = tmp_path / "gone_raw.fif"
    make_raw().save(path, verbose="error")
    raw = mne.io.read_raw(path, verbose="error")
    lazy = mne.make_fixed_length_epochs(raw, 1.0, verbose="error")
    path.unlink()
    features = SAMBAFeatures(ch_names=NAMES, sfreq=128, layer="pool3", pooling="mean")
    for read in (
        lambda: features.fit(X).transform_recording(raw),
        lambda: features.fit(lazy),
        lambda: RecordingAligner().fit(raw),
        lambda: RecordingAligner().fit(make_raw()).transform(raw),
    ):
        with pytest.raises(RecordingError, match=str(path)):
            read()


def test_only_fitted_decoders_read_files(whole):
    with pytest.raises(ValueError, match="not fitted"):
        next(decode_file(SAMBAClassifier(), whole / "a.edf"))


@pytest.mark.parametrize(
    ("exclude", "words"),
    [
        ("Cz", "exclude='Cz' is unknown"),
        (NAMES, "no EEG channel is good and has a place"),
    ],
)
def test_channels_that_can_not_be_left_out(decoder, whole, exclude, words):
    with pytest.raises(ValueError, match=words):
        next(decode_file(decoder, whole / "a.edf", exclude=exclude))


def test_places_of_results_are_checked_before_the_work(decoder, whole, tmp_path):
    decoder.save_pretrained(tmp_path / "d")
    words = ["decode", whole / "a.edf", "--decoder", tmp_path / "d"]
    for option, place, said in (
        ("--output", tmp_path, "is no name of a file"),
        ("--output", "", "is no name of a file"),
        ("--figure", tmp_path, "is no name of a file"),
        ("--figure", tmp_path / "x", "end it in .png, .pdf, .svg"),
        ("--figure", tmp_path / "x.csv", "end it in .png, .pdf, .svg"),
        ("--figure", tmp_path / "no" / "x.png", "there is no folder"),
    ):
        assert said in fail(2, *words, option, place)
    succeed(*words, "--figure", tmp_path / "x.png", "--output", tmp_path / "x.csv")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".*"))


def test_no_file_takes_the_place_of_what_is_none(decoder, whole, tmp_path):
    decoder.save_pretrained(tmp_path / "d")
    (tmp_path / "link").symlink_to("/dev/null")
    words = ["decode", whole / "a.edf", "--decoder", tmp_path / "d"]
    assert "no plain file" in fail(1, *words, "--output", tmp_path / "link")
    assert (tmp_path / "link").is_char_device()
