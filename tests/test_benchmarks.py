"""The benchmark measures what it says: the same network, and honest arithmetic.

Nothing is timed here.
"""

import math
import re

import pytest
import torch
from benchmarks import _measure, loop, tables, where
from benchmarks.published import PublishedNetwork, published_scan
from benchmarks.run import main
from safetensors.torch import load_file

from braindecode_samba import SAMBAReconstructor
from braindecode_samba.nn.reference import rename_reference_keys
from braindecode_samba.scan import ssd_scan


@pytest.fixture(scope="module")
def golden(golden_folder):
    return load_file(golden_folder / "emotiv14_T256.safetensors")


@pytest.fixture(scope="module")
def state_dict(golden):
    return {
        name.removeprefix("param."): value
        for name, value in golden.items()
        if name.startswith("param.")
    }


@pytest.fixture(scope="module")
def published(state_dict):
    network = PublishedNetwork(14, chunk=16)
    network.load_state_dict(state_dict)
    return network.double()


@pytest.fixture(scope="module")
def ours(golden, state_dict):
    doubles = {name: value.double() for name, value in state_dict.items()}
    return SAMBAReconstructor.from_reference(
        doubles, golden["positions"], golden["target_positions"]
    )


@pytest.fixture
def threads_kept():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def relative_error(found, wanted):
    return (found - wanted).abs().max() / wanted.abs().max()


# the published structure


def test_published_structure_has_the_authors_parameters_in_their_order(state_dict):
    wanted = {name: value.shape for name, value in state_dict.items()}
    found = PublishedNetwork(14).state_dict()
    assert {name: value.shape for name, value in found.items()} == wanted
    assert len(found) == 204


@torch.no_grad()
def test_published_structure_gives_the_golden_output(golden, state_dict):
    network = PublishedNetwork(14)
    network.load_state_dict(state_dict)
    found = network(golden["x"], golden["positions"], golden["target_positions"])
    assert relative_error(found, golden["out"]) <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("n_times", [8, 75, 160])
def test_published_structure_gives_our_outputs(golden, published, ours, n_times):
    x = golden["x"][..., :n_times].double()
    places = golden["positions"], golden["target_positions"]
    assert relative_error(ours(x), published(x, *places)) <= 1e-5
    mediated = published.encode(x, *places)
    assert relative_error(ours.trunk.encode(x, layer="mediator"), mediated) <= 1e-5


def test_published_structure_gives_our_gradients(golden, published, ours):
    x = golden["x"][:1, :, :75].double().requires_grad_()
    weight = torch.randn(x.shape, dtype=x.dtype)
    output = published(x, golden["positions"], golden["target_positions"])
    theirs = dict(published.named_parameters())
    wanted = torch.autograd.grad(
        (output * weight).sum(), [x, *theirs.values()], allow_unused=True
    )
    wanted = dict(zip(["x", *theirs], wanted, strict=True))
    names = dict(zip(theirs, rename_reference_keys(theirs), strict=True))
    mine = dict(ours.named_parameters())
    used = [name for name in theirs if wanted[name] is not None]
    found = torch.autograd.grad(
        (ours(x) * weight).sum(), [x, *(mine[names[name]] for name in used)]
    )
    assert len(used) == 204 - 3  # the norms that the authors never apply
    for name, value in zip(["x", *used], found, strict=True):
        if name == "saie.net.2.bias":  # cancels in the softmax: rounding remains
            continue
        error = relative_error(value.view_as(wanted[name]), wanted[name])
        assert error <= 1e-5, f"{name}: {error:.1e}"


@pytest.mark.parametrize("chunk", [1, 7, 64, 256])
def test_chunks_of_any_size_give_one_result(chunk):
    x = torch.randn(2, 37, 3, 5, dtype=torch.float64)
    dt = torch.rand(2, 37, 3, dtype=torch.float64)
    A = -torch.rand(3, dtype=torch.float64) * 16
    B, C = torch.randn(2, 2, 37, 4, dtype=torch.float64)
    wanted = ssd_scan(x, dt, A, B.unsqueeze(2), C.unsqueeze(2), backend="torch")
    torch.testing.assert_close(published_scan(x, dt, A, B, C, chunk), wanted)


def test_unknown_mamba_is_refused():
    with pytest.raises(ValueError, match="mamba='mamba'"):
        PublishedNetwork(4, mamba="mamba")


# measuring


def test_functions_are_timed_in_turn_behind_a_call_of_their_own():
    calls = []
    times = _measure.interleave(
        [lambda: calls.append("a"), lambda: calls.append("b")], 3, 60
    )
    assert "".join(calls) == "aabb" * 3
    assert [len(each) for each in times] == [3, 3]


def test_no_round_begins_after_the_budget():
    assert [len(each) for each in _measure.interleave([int], 9, 0)] == [1]


def test_ratio_is_taken_within_rounds():
    assert _measure.median_ratio([2, 40, 6], [1, 10, 3]) == 2


def test_exponent_of_a_power_is_found():
    sizes = [30, 100, 300, 1000]
    assert _measure.exponent(sizes, [7 * s**1.05 for s in sizes]) == pytest.approx(1.05)
    assert math.isnan(_measure.exponent([30], [1]))


def test_footnote_holds_the_reason_once():
    def refuse():
        raise _measure.Refused("too | long")

    notes = tables.Notes()
    assert notes.cell(lambda: "1.5") == "1.5"
    assert notes.cell(refuse) == notes.cell(refuse) == "– [1]"
    assert notes.under("table") == "table\n\n[1] too / long"


def test_tables_replace_what_stood_in_their_place(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{_measure.BEGIN}\nold\n{_measure.END}\nafter\n")
    _measure.insert_tables(path, "| a |\n| --- |")
    wanted = f"before\n{_measure.BEGIN}\n\n| a |\n| --- |\n\n{_measure.END}\nafter\n"
    assert path.read_text() == wanted
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize("text", ["", f"{_measure.END}\n{_measure.BEGIN}\n"])
def test_file_without_a_place_is_refused_before_any_work(tmp_path, text, capsys):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(SystemExit):
        main(["--quick", "--write", str(path)])
    assert "has no place for the tables" in capsys.readouterr().err
    assert path.read_text() == text


def test_shipped_readme_has_a_place(request):
    folder = request.path.parent / "benchmarks"
    _measure.check_place(folder / "README.md")


@pytest.mark.slow
def test_refusals_and_deaths_leave_the_next_measurement_alone():
    with tables.Session(repeats=2, budget=60, timeout=600) as session:
        small = _measure.Case("network", 64)
        with pytest.raises(_measure.Refused, match="EinopsError"):
            session.times([_measure.Case("CBraMod", 256)], threads=1)
        assert [len(each) for each in session.times([small], threads=1)] == [2]
        session.timeout = 0.1
        with pytest.raises(_measure.Refused, match=r"no result within 0\.1 s"):
            session.peak(small, threads=1)
        session.timeout = 600
        training = _measure.Case("network", 512, mode="training")
        assert session.peak(training, threads=1)["mb"] > 1


@pytest.mark.usefixtures("threads_kept")
def test_each_stage_of_a_step_stands_beside_its_limit(capsys, monkeypatch):
    arguments = "where --threads 1 --rounds 1 --batch 2 --seconds 1"
    monkeypatch.setattr("sys.argv", arguments.split())
    where.main()
    lines = capsys.readouterr().out.splitlines()
    rows = {
        cells[1].strip(): cells[2:]
        for line in lines
        if len(cells := line.split("|")) > 2
    }
    layers = [name for name in rows if "Mamba-2" in name]
    assert len(layers) == 4
    assert all(float(rows[name][0]) > 0 for name in layers)  # operations
    assert all("%" in share for name in layers for share in rows[name][4:6])
    assert "in all" in rows["whole step"][2]


@pytest.mark.usefixtures("threads_kept")
def test_the_loop_stands_beside_bare_steps(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", "loop --threads 1 --rounds 1 --steps 1".split())
    loop.main()
    assert re.search(r"ratio of times \d+\.\d+", capsys.readouterr().out)
