"""Pretrainings of equal cost, the people they see, and what features are worth."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from braindecode_samba import SAMBAFeatures, SAMBAReconstructor
from braindecode_samba.pretraining.config import is_chosen

pytest.importorskip(
    "pyriemann", reason='needs pyRiemann: pip install "braindecode-samba[benchmarks]"'
)

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


@pytest.fixture(scope="module")
def objectives(load):
    return load("pretrain_objectives")


@pytest.fixture(scope="module")
def windows(load, objectives):
    noise = load("pretrain_search").noise()
    return objectives.join_windows(noise, torch.device("cpu"))


# people


def everybody(name):
    """Names of people, as the corpora number them."""
    numbered = {"eegmmidb": "S{:03d}", "eegmat": "Subject{:02d}"}
    numbered |= {"guinea_bissau": "G{:03d}", "kalunga": "K{:02d}", "adhd": "v{}"}
    names = [numbered[name].format(number) for number in range(400)]
    return names + [f"v{number}p" for number in range(400)]


@pytest.mark.parametrize(
    ("corpus", "n_learnt", "n_scored"),
    [
        ("eegmmidb", 58, 11),
        ("eegmat", 12, 8),
        ("guinea_bissau", 40, 20),
        ("adhd", 48, 24),
        ("kalunga", 6, 2),
    ],
)
def test_nobody_is_trained_on_and_scored(load, corpus, n_learnt, n_scored):
    parts = load("pretrain_windows").CORPORA[corpus]
    learnt, scored = (
        {one for one in everybody(corpus) if is_chosen(one, parts[part])}
        for part in ("learnt", "scored")
    )
    assert (len(learnt), len(scored)) == (n_learnt, n_scored)
    assert not learnt & scored


def people_on(card):
    """People that the table of a card names, the watched ones among them."""
    data = card.split("## Training data")[1].split("Attribution")[0]
    rows = [line.split(" | ") for line in data.splitlines() if line.startswith("| ")]
    for cells in rows[2:]:
        for part in ", ".join((cells[1], cells[4])).split(", "):
            first, _, last = part.partition(" to ")
            stem, number = re.fullmatch(r"(.*?)(\d+)", first).groups()
            stop = int(last.removeprefix(stem) or number)
            for one in range(int(number), stop + 1):
                yield f"{stem}{one:0{len(number)}d}"


@pytest.mark.parametrize("name", ["samba-e", "samba-t"])
def test_cards_name_people_who_may_be_trained_on(load, name):
    corpora = load("pretrain_windows").CORPORA
    named = list(people_on((CHECKPOINTS / name / "README.md").read_text()))
    assert len(named) == 28 + 12
    allowed = [choice for one in corpora.values() for choice in one["learnt"]]
    assert all(is_chosen(one, allowed) for one in named)


def test_samba_labels_learnt_from_people_whose_labels_may_be_learnt(load):
    folder = CHECKPOINTS / "samba-labels"
    config = json.loads((folder / "config.json").read_text("utf-8"))
    people = config["pretraining"]["people"]
    corpora = load("pretrain_windows").CORPORA
    counts = {name: len(one) for name, one in people.items()}
    told = {"eegmmidb": 58, "eegmat": 12, "guinea_bissau": 40, "adhd": 48, "kalunga": 6}
    assert counts == told
    card = " ".join((folder / "README.md").read_text("utf-8").split())
    for name, corpus in corpora.items():
        assert all(is_chosen(one, corpus["learnt"]) for one in people[name])
        for words in (corpus["licence"], corpus["attribution"][:40], people[name][0]):
            assert words in card


def test_laboratories_are_drawn_by_the_root_of_their_size(windows):
    generator = torch.Generator().manual_seed(0)
    rows = windows.draw(4000, generator)
    share = (windows.laboratory[rows] == 0).float().mean()
    assert abs(share - 0.5) < 0.03  # both have as many windows
    assert len(rows.unique()) == len(windows.X)


# windows


def test_views_are_of_electrodes_that_are_there(objectives, windows):
    rows = torch.arange(len(windows.X))
    batch = objectives.view(windows, rows, torch.Generator().manual_seed(0))
    # as they are, and whitened
    assert batch.x.shape == (2 * 80, 5, objectives.N_TIMES)
    there = windows.present[windows.laboratory]
    assert not (batch.ch_mask & ~there).any()
    assert (batch.ch_mask.sum(1) >= objectives.FEWEST).all()


def test_a_view_is_a_stretch_of_its_window(objectives, windows):
    rows = torch.arange(len(windows.X))
    batch = objectives.view(windows, rows, torch.Generator().manual_seed(0))
    whole = windows.X.float()
    same = torch.zeros(len(rows), dtype=torch.bool)
    for first in range(whole.shape[2] - objectives.N_TIMES + 1):
        part = whole[..., first : first + objectives.N_TIMES]
        same |= (batch.x - part).abs().amax((1, 2)) < 1e-3
    # half of them keep their whole pass band
    assert 0.3 < same.float().mean() < 0.7


def test_classes_are_numbered_within_their_task(windows):
    assert windows.tasks == {
        "one 0": ["a", "b"],
        "one 1": ["x", "y"],
        "other 0": ["c", "d"],
    }
    assert windows.n_classes == [2, 2, 2, 4, 4]
    assert (windows.labels[:80, 2] == -1).all()
    assert windows.labels[:4, 0].tolist() == [0, 1, 0, 1]
    assert windows.labels[80:84, :3].tolist() == [[-1, -1, 0], [-1, -1, 1]] * 2
    # the whitened half of a laboratory has the same labels and people
    assert torch.equal(windows.labels[:40], windows.labels[40:80])


def test_people_are_tasks_behind_those_of_labels(windows):
    one, other = windows.labels[:, 3], windows.labels[:, 4]
    assert one[:40:10].tolist() == [0, 1, 2, 3]
    assert (one[80:] == -1).all()
    assert (other[:80] == -1).all()
    assert other[80:].unique().tolist() == [0, 1, 2, 3]


def test_windows_come_as_they_are_and_whitened(load, objectives):
    noise = load("pretrain_search").noise()
    noise["one"]["white"] = -noise["one"]["X"]
    joined = objectives.join_windows(noise, torch.device("cpu"))
    assert torch.equal(joined.X[:40], -joined.X[40:80])
    assert torch.equal(joined.X[80:120], joined.X[120:])


# objectives


def test_embeddings_that_collapse_cost_more_than_isotropic_ones(objectives):
    torch.manual_seed(0)
    z = torch.randn(256, 16)
    isotropic = objectives.view_loss(torch.stack([z, z]))
    collapsed = objectives.view_loss(torch.zeros(2, 256, 16))
    apart = objectives.view_loss(torch.stack([z, torch.randn(256, 16)]))
    assert isotropic < 0.1 < apart
    assert isotropic < 0.1 < collapsed


@pytest.mark.parametrize("recipe", ["all", "spectra", "views", "labels+people"])
def test_every_part_reaches_the_trunk(objectives, windows, recipe):
    torch.manual_seed(0)
    model = SAMBAReconstructor()
    asked = objectives.RECIPES[recipe]
    passage = objectives.Passage(model, asked.loss is not None)
    objective = objectives.Objective(passage, asked, windows)
    generator = torch.Generator().manual_seed(0)
    parts = objective(windows, windows.draw(8, generator), generator)
    for name, value in parts.items():
        objective.zero_grad()
        value.backward(retain_graph=True)
        gradient = model.trunk.encoder.conv3.weight.grad
        assert gradient.abs().sum() > 0, name


# commands


@pytest.fixture(scope="module")
def weights(load, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    arguments = ["--toy", "--output", str(folder), "--recipes"]
    load("pretrain_search").main([*arguments, "reconstruction", "views"])
    return folder


def test_weights_tell_how_they_were_made(weights):
    note = json.loads((weights / "views-0" / "config.json").read_text())["pretraining"]
    assert note["steps"] == 3
    assert note["recipe"] == "views"
    assert note["people"]["one"] == ["one0", "one1", "one2", "one3"]


def test_recipes_start_from_the_same_weights(weights):
    torch.manual_seed(0)
    start = SAMBAReconstructor().trunk.encoder.conv2.weight
    rebuilt, views = (
        load_file(weights / f"{name}-0" / "model.safetensors")
        for name in ("reconstruction", "views")
    )
    for one in (rebuilt, views):
        # three steps at the beginning of the warm-up
        found = one["trunk.encoder.conv2.weight"]
        assert not torch.equal(found, start)
        torch.testing.assert_close(found, start, atol=0.01, rtol=0)
    # a decoder that nobody asked for anything is not kept
    assert any(name.startswith("decoder") for name in rebuilt)
    assert not any(name.startswith("decoder") for name in views)


def test_features_of_weights_and_their_table(load, weights, tmp_path, capsys):
    command = load("evaluate_features")
    rng = np.random.default_rng(0)
    subject = np.repeat([f"K{one:02d}" for one in range(1, 9)], 8)
    folder = tmp_path / "columns"
    folder.mkdir()
    np.savez(
        folder / "kalunga.npz",
        X=rng.standard_normal((64, 2, 256)).astype(np.float32),
        y=np.tile(["13", "17", "21", "rest"], 16),
        subject=subject,
        recording=subject,
        fold=np.zeros(64, int),
        names=["O1", "O2"],
        sfreq=128.0,
    )
    checkpoint = str(weights / "views-0")
    options = ["--output", str(tmp_path), "--columns", "kalunga", "--seeds", "0"]
    command.main([*options, "--checkpoints", checkpoint, "--per-person", "2"])
    table = capsys.readouterr().out
    assert "| views-0 |" in table
    random = next(line for line in table.splitlines() if line.startswith("| random |"))
    assert random.endswith("| +0.000 ± 0.000 |")


def test_recordings_are_centred(load):
    values = np.array([[1.0], [3.0], [5.0], [9.0]])
    centred = load("evaluate_features").centre(values, np.array(["a", "a", "b", "b"]))
    assert centred.ravel().tolist() == [-1, 1, -2, 2]


def test_features_are_those_of_the_weights(weights):
    X = np.random.default_rng(0).standard_normal((2, 3, 256))
    told = {"ch_names": ["C3", "Cz", "C4"], "sfreq": 128}
    found = [
        SAMBAFeatures(checkpoint=weights / f"{name}-0", **told).fit_transform(X)
        for name in ("views", "reconstruction")
    ]
    assert np.abs(found[0] - found[1]).max() > 0.01


def make_column(load, **changes):
    """Four people, two recordings of 2 windows of 1 s each."""
    columns = load("paradigm_columns")
    fields = {
        "X": np.arange(16.0 * 2 * 8).reshape(16, 2, 8),
        "y": np.tile(["a", "a", "b", "b"], 4),
        "subject": np.repeat(["p", "q", "r", "s"], 4),
        "recording": np.repeat(["p", "q", "r", "s"], 4),
        "fold": np.zeros(16, int),
        "names": np.array(["C3", "C4"]),
        "sfreq": 8.0,
    }
    return columns.Column(**(fields | changes))


def test_windows_are_joined_within_a_recording_and_a_label(load):
    column = make_column(load)
    longer = load("feature_columns").lengthen(column, 2.0)
    assert longer.X.shape == (8, 2, 16)
    assert longer.y.tolist() == ["a", "b"] * 4
    expected = np.concatenate([column.X[2], column.X[3]], axis=1)
    np.testing.assert_array_equal(longer.X[1], expected)
    shorter = load("feature_columns").lengthen(column, 0.5)
    assert shorter.X.shape == (32, 2, 4)
    np.testing.assert_array_equal(shorter.X[1], column.X[0][:, 4:])


def test_who_it_is_is_asked_of_the_second_half(load):
    column = load("feature_columns").by_person(make_column(load))
    assert column.y.tolist() == column.subject.tolist()
    assert column.fold.tolist() == [-1, -1, 0, 0] * 4


def test_a_share_of_people_holds_every_label(load):
    subject = np.repeat([f"s{one:02d}" for one in range(20)], 2)
    y = np.repeat(["ill", "well"], [34, 6])
    draw = load("feature_columns").draw_people
    drawn = draw(subject, y, 0.1, seed=0)
    assert len(drawn) == 3
    assert len({one for one in drawn if one >= "s17"}) == 1
    assert drawn == draw(subject, y, 0.1, seed=0)
    assert drawn != draw(subject, y, 0.1, seed=1)
