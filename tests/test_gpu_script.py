"""Promises of the GPU script, as far as they can be kept without a GPU.

Its pieces, its resume, its crashes and its word where there is no GPU; every item runs
at toy size in a slow test.  The scan itself is tested in `test_scan`.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu import measure, run_all
from gpu.ceiling_items import forward_work, mamba_products
from gpu.plan import Case, Plan
from gpu.reference import ScanCase, reference_scan
from gpu.rows import Row, Store, at_least, at_most, failure, markdown
from gpu.scan_items import copies, make_case, run_scan, truth_of_copies, worst_error
from gpu.training_items import Windows, time_masks

from braindecode_samba.scan import recurrent_scan

CPU = torch.device("cpu")
TOY = Plan(CPU, toy=True, seconds=600.0)
SCRIPT = Path(run_all.__file__)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_gpu_the_script_says_so_and_succeeds(tmp_path: Path) -> None:
    table = tmp_path / "results.md"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(table)],
        capture_output=True,
        text=True,
        cwd=SCRIPT.parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert "no GPU: skipped" in done.stdout
    assert "no GPU: skipped" in table.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["results.md"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_gpu_a_table_of_results_is_not_overwritten(tmp_path: Path) -> None:
    table = tmp_path / "results.md"
    table.write_text("measured")
    Store(tmp_path / "results.rows").put(1, "a", [Row("a", "time", 1.0)])
    assert run_all.main([str(table)]) == 0
    assert table.read_text() == "measured"


@pytest.mark.parametrize(
    "arguments", [["--items", "1,10"], ["--items", "x"], ["--windows", "none.npy"]]
)
def test_what_cannot_be_run_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        run_all.main([str(tmp_path / "t.md"), "--toy", *arguments])
    assert error.value.code == 2
    assert not list(tmp_path.iterdir())


def test_relative_error_is_the_norm_of_the_difference() -> None:
    reference = torch.tensor([3.0, 4.0])
    assert measure.relative_error(reference, reference) == 0
    assert measure.relative_error(torch.tensor([3.0, 4.5]), reference) == 0.1
    assert measure.relative_error(torch.ones(1), torch.zeros(1)) == 1
    nan = torch.tensor([3.0, float("nan")])
    assert measure.relative_error(nan, reference) == float("inf")
    with pytest.raises(ValueError, match="same shape"):
        measure.relative_error(torch.ones(2), torch.ones(1))


def test_median_time_counts_the_calls_after_the_warm_up() -> None:
    calls: list[int] = []
    ms = measure.median_ms(lambda: calls.append(1), CPU, repeats=5, warmup=2)
    assert len(calls) == 7
    assert 0 <= ms < 1000
    assert measure.peak_mib(lambda: calls.append(1), CPU) is None
    assert len(calls) == 8


def test_ceilings_are_positive_rates() -> None:
    assert measure.copy_rate(CPU, 2**16) > 0
    assert measure.product_rate(CPU, torch.float32, size=32) > 0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_growth_exponent_is_the_power(power: float) -> None:
    lengths = [10.0, 20.0, 80.0]
    values = [3 * n**power for n in lengths]
    assert measure.growth_exponent(lengths, values) == pytest.approx(power)
    with pytest.raises(ValueError, match="at least two"):
        measure.growth_exponent([10.0], [1.0])


@pytest.mark.parametrize("limit", [5, 64, 65, 1000, 5000])
def test_longest_length_is_found_to_a_sixteenth(limit: int) -> None:
    found = measure.longest(lambda n: n <= limit, start=64, end=4096)
    if limit < 64:
        assert found == 0
    elif limit > 4096:
        assert found == 4096
    else:
        assert limit * 15 / 17 <= found <= limit


def test_reference_equals_autograd_through_the_recurrence() -> None:
    # over the end of a block of 512
    case = ScanCase(*(value.double() for value in make_case(520, 4)))
    names = ("x", "dt", "A", "B", "C", "D", "initial_state")
    leaves = [getattr(case, name).clone().requires_grad_() for name in names]
    y, state = recurrent_scan(*leaves)
    grads = torch.autograd.grad([y, state], leaves, [case.dy, case.dstate])
    truth = truth_of_copies(reference_scan(case), torch.ones(4))
    for name, value in zip(("y", "state", *names), (y, state, *grads), strict=True):
        assert measure.relative_error(truth[name], value) < 1e-12, name


@pytest.mark.parametrize("batch", [1, 32])
def test_scan_of_64_steps_is_right_in_every_copy(batch: int) -> None:
    base = make_case(64, 16)
    case, scales = copies(base, batch)
    truth = truth_of_copies(reference_scan(base), scales)
    results = run_scan(case, CPU, torch.float32, "torch")
    error, where = worst_error(results, truth)
    assert error < 1e-5, where
    # an error in one copy alone, or in one gradient alone, shows
    results["y"][-1, 10] += 1.0
    assert worst_error(results, truth)[0] > 1e-3
    results = run_scan(case, CPU, torch.float32, "torch")
    results["D"][0] *= 1.01
    error, where = worst_error(results, truth)
    assert error == pytest.approx(0.01, rel=1e-3)
    assert where == "gradient of D, weak decay"


def test_forward_work_is_near_the_known_sum_of_multiply_adds() -> None:
    # 100.9 thousand in the projections of a layer of width 64, and its scan
    assert 125_000 < mamba_products(64, 64) < 130_000
    assert 350_000 < sum(layer.products for layer in forward_work(16)) < 500_000


def test_rows_of_a_case_come_back_and_are_not_run_again(tmp_path: Path) -> None:
    ran: list[str] = []

    def case(name: str) -> Case:
        def run() -> list[Row]:
            ran.append(name)
            if name == "bad":
                raise RuntimeError("no such\nkernel")
            return [at_most(name, "error", 0.5, 1.0)]

        return Case(name, run)

    store = Store(tmp_path)
    cases = [case("bad"), case("good T=64")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(run_all.ITEMS, 3, lambda plan: cases)
        assert run_all.run_cases(3, TOY, store) == 0
        assert run_all.run_cases(3, TOY, Store(tmp_path)) == 0
        assert ran == ["bad", "good T=64"]
        cases.append(case("new"))
        assert "item 3: 1 of 3 cases" in run_all.not_run(TOY, store)
        run_all.run_cases(3, Plan(CPU, toy=True, seconds=-1.0), store)
        assert len(ran) == 2  # the time was over
    assert store.take_begun(3) is None
    assert store.rows() == [
        (3, failure("bad", "RuntimeError: no such kernel")),
        (3, Row("good T=64", "error", 0.5, "", "<= 1", True)),
    ]


# one case ends its process, as an illegal access in a library may
CRASHING = """
import os, sys
sys.path[:0] = {folders!r}
from gpu import run_all
from gpu.plan import Case
from gpu.rows import Row
run_all.ITEMS[1] = lambda plan: [
    Case("crash", lambda: os._exit(7)),
    Case("after", lambda: [Row("after", "ran", 1.0)]),
]
sys.exit(run_all.main())
"""


def test_a_crash_is_a_row_and_not_the_end(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    folders = [str(SCRIPT.parents[1]), str(SCRIPT.parents[2])]
    script.write_text(CRASHING.format(folders=folders))
    store = Store(tmp_path / "rows")
    options = run_all.parse(
        [str(tmp_path / "t.md"), "--rows", str(store.folder), "--toy"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_all, "SCRIPT", script)
        run_all.run_item(1, options, store)
    assert store.rows() == [
        (1, failure("crash", "its process ended with exit code 7")),
        (1, Row("after", "ran", 1.0)),
    ]


def test_rows_of_another_machine_are_refused(tmp_path: Path) -> None:
    first = run_all.check_environment([("GPU", "A"), ("torch", "1")], tmp_path)
    assert first == run_all.check_environment([("GPU", "A"), ("torch", "1")], tmp_path)
    with pytest.raises(SystemExit, match="another folder"):
        run_all.check_environment([("GPU", "B"), ("torch", "1")], tmp_path)


def test_table_names_the_machine_and_what_does_not_hold() -> None:
    rows = [
        (1, at_most("a|b", "error", float("nan"), 1e-3, note="where")),
        (2, at_least("c", "times faster", 2.5, 2.0)),
        (2, Row("c", "peak", None, "MiB")),
        (2, Row("c", "time", 12.345678, "ms")),
    ]
    text = markdown([("GPU", "none")], rows)
    assert "- GPU: none" in text
    assert "- demands: 2, of which 1 do not hold" in text
    assert "| 1 | a/b | error | nan | <= 0.001 | **no** | where |" in text
    assert "| 2 | c | times faster | 2.5 | >= 2 | yes |  |" in text
    assert "| 2 | c | peak | not measured |  |  |  |" in text
    assert "| 2 | c | time | 12.35 ms |  |  |  |" in text


def test_half_of_every_window_is_hidden_in_one_block() -> None:
    visible = time_masks(50, 64, torch.Generator().manual_seed(0))
    assert visible.shape == (50, 1, 64)
    assert ((~visible).sum(-1) == 32).all()
    borders = (~visible).int().diff(dim=-1).abs().sum(-1)
    assert ((borders == 1) | (borders == 2)).all()
    assert len({tuple(row.flatten().tolist()) for row in visible}) > 10


@pytest.mark.parametrize("dtype", ["int8", "float16"])
def test_given_windows_are_mapped_and_read_as_float32(
    tmp_path: Path, dtype: str
) -> None:
    array = np.arange(2 * 3 * 8).reshape(2, 3, 8).astype(dtype)
    np.save(tmp_path / "w.npy", array)
    data = Windows(Plan(CPU, windows=tmp_path / "w.npy"))
    assert len(data) == 2
    assert data[1].dtype == torch.float32
    assert torch.equal(data[1], torch.tensor(array[1].astype("float32")))
    np.save(tmp_path / "w.npy", array[0])
    with pytest.raises(ValueError, match="n, channels, times"):
        Windows(Plan(CPU, windows=tmp_path / "w.npy"))


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(run_all.ITEMS))
def test_every_item_runs_at_toy_size(tmp_path: Path, number: int) -> None:
    store = Store(tmp_path)
    assert run_all.run_cases(number, TOY, store) == 0
    rows = [row for _, row in store.rows()]
    assert rows
    assert "error" not in {row.measure for row in rows}
    # times of small tensors say nothing; what is computed has to be right
    measured = [row for row in rows if "time" not in row.measure]
    assert [row for row in measured if row.ok is False] == []
