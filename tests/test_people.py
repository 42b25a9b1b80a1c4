"""Who is who in a folder of recordings, by the names that laboratories give."""

import pytest

from braindecode_samba.pretraining.people import (
    find_recordings,
    hold_out,
    tell_people,
)


@pytest.mark.parametrize(
    ("insides", "people"),
    [
        # folders of people, in folders of laboratories
        (
            ["labA/p1/run1.edf", "labA/p1/run2.edf", "labA/p2/a.edf", "labB/p1/a.edf"],
            ["labA/p1", "labA/p1", "labA/p2", "labB/p1"],
        ),
        (["lab1/p1/a.edf", "lab1/p2/a.edf", "lab2/p1/a.edf"], None),
        (["Lab A/Patient 1/EEG.edf", "Lab A/Patient 2/EEG.edf"], None),
        (["S001/S001R01.edf", "S001/S001R02.edf"], ["S001", "S001"]),
        (["chb01/chb01_03.edf", "chb02/chb02_03.edf"], ["chb01", "chb02"]),
        (["001/rest.edf", "002/rest.edf"], ["001", "002"]),
        (
            ["p1/session1/run1.edf", "p1/session_2/run-1.edf", "p2/session1/run1.edf"],
            ["p1", "p1", "p2"],
        ),
        (["p1/a.edf", "p1/b.edf"], ["p1", "p1"]),
        # files of people
        (["labA/p1.edf", "labA/p2.edf", "labB/p1.edf"], None),
        (["labA/p1_rest.edf", "labA/p1_task.edf"], ["labA/p1", "labA/p1"]),
        (["Subject00_1.edf", "Subject00_2.edf"], ["Subject00", "Subject00"]),
        (["rest_s01.edf", "task_s01.edf", "rest_s02.edf"], ["s01", "s01", "s02"]),
        (["session1/p1.edf", "session2/p1.edf"], ["p1", "p1"]),
        (["2024-01-05/p1.edf", "2024-01-06/p1.edf"], ["p1", "p1"]),
        (
            ["BNCI2014-001/A01T.gdf", "BNCI2014-001/A01E.gdf", "Cho2017/s1.edf"],
            ["BNCI2014-001/A01", "BNCI2014-001/A01", "Cho2017/s1"],
        ),
        (["p300/s1.edf", "p300/s2.edf", "n400/s1.edf"], None),
        # names without numbers
        (["anna/rest.edf", "anna/task.edf", "ben/rest.edf"], ["anna", "anna", "ben"]),
        (["anna/anna_x.edf", "anna/anna_y.edf", "ben/z.edf"], ["anna", "anna", None]),
        (["anna_rest.edf", "anna_task.edf", "ben.edf"], ["anna", "anna", "ben"]),
        (["labA/anna.edf", "labA/ben.edf", "labB/carl.edf"], None),
        (["berlin/vpaa.vhdr", "berlin/vpab.vhdr", "graz/vpaa.vhdr"], None),
        (["1.edf", "2.edf"], ["1", "2"]),
        # standards
        (
            ["sub-1_task-rest_raw.fif", "sub-1_task-eyes_raw.fif"],
            ["sub-1", "sub-1"],
        ),
        (
            [
                "ds1/sub-01/ses-1/eeg/sub-01_ses-1_eeg.set",
                "ds1/derivatives/clean/sub-01/eeg/sub-01_eeg.set",
                "ds2/sub-01/eeg/sub-01_eeg.set",
            ],
            ["ds1/sub-01", "ds1/sub-01", "ds2/sub-01"],
        ),
        (
            ["aaaaaaaa/s001_2002/aaaaaaaa_s001_t000.edf",
             "aaaaaaaa/s002_2003/aaaaaaaa_s002_t000.edf"],
            ["aaaaaaaa", "aaaaaaaa"],
        ),
    ],
)  # fmt: skip
def test_people_are_told_apart_and_none_is_split(insides, people):
    told = [person.name for person in tell_people(insides)]
    if people is None:
        assert len(set(told)) == len(insides)
        return
    for name, wanted in zip(told, people, strict=True):
        assert wanted is None or name == wanted


def test_the_rule_is_told():
    insides = ["a/sub-01/x.edf", "b/p1.edf", "c/p2/x.edf", "d/anna/rest.edf", "e/f.edf"]
    assert [person.rule for person in tell_people(insides)] == [
        "by BIDS names",
        "by numbered files",
        "by numbered folders",
        "by folders",
        "by files",
    ]


def test_recordings_are_files_of_eeg_that_are_not_hidden(tmp_path):
    for name in (
        *("a.edf", "b/B.EDF", "b/c.vhdr", "b/c.vmrk", "b/d_raw.fif.gz", "readme.txt"),
        *("._a.edf", ".cache/a.edf", "net.mff/signal1.bin", "folder.edf/e.set"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [
        path.relative_to(tmp_path).as_posix() for path in find_recordings(tmp_path)
    ]
    assert found == ["a.edf", "b/B.EDF", "b/c.vhdr", "b/d_raw.fif.gz",
                     "folder.edf/e.set", "net.mff"]  # fmt: skip
    assert find_recordings(tmp_path, ["*.txt"]) == [tmp_path / "readme.txt"]


@pytest.mark.parametrize(("n_people", "n_held_out"), [(1, 0), (2, 1), (19, 1), (30, 3)])
def test_a_tenth_is_held_out(n_people, n_held_out):
    people = [f"p{number}" for number in range(n_people)]
    held_out = hold_out(people)
    assert len(held_out) == n_held_out
    assert set(held_out) <= set(people)
    assert hold_out(people[::-1]) == held_out
    # whoever is added changes the choice of few
    more = hold_out([*people, *(f"new{number}" for number in range(10))])
    assert len(set(held_out) - set(more)) <= 1
