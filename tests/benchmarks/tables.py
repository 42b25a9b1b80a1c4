"""The tables: which cases each compares, and how they become Markdown.

Measuring itself is in `_measure`; what the cases' models are, in `subjects`.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from ._measure import Case, Refused, Worker, exponent, markdown_table, median_ratio

SFREQ = 128
# Hz: the rate that a model was made for, and SAMBA's where that is another one
RATES = {
    "EEGNet": (128,),
    "EEGConformer": (128,),
    "BIOT": (200, 128),
    "CBraMod": (200, 128),
    "LUNA": (256, 128),
    "Labram": (200, 128),
    "SignalJEPA": (128,),
    "SignalJEPA_PreLocal": (128,),
    "EEGPT": (256, 128),
}
# seconds: below, fixed costs of a call hide how time grows
FIT_FROM = 30
MISSING = "–"


class Session:
    """Processes that measure, and the peaks that were found already.

    Parameters
    ----------
    repeats : int
        Rounds, at most.
    budget : float
        Seconds after which no further round begins.
    timeout : float
        Seconds after which a measurement is given up.
    max_peaks : int, optional
        Number of peaks to measure; further ones stay unknown.
    """

    def __init__(
        self, repeats: int, budget: float, timeout: float, max_peaks: int | None = None
    ) -> None:
        self.repeats = repeats
        self.budget = budget
        self.timeout = timeout
        self._peaks_left = math.inf if max_peaks is None else max_peaks
        self._workers: dict[int, Worker] = {}
        self._peaks: dict[tuple[Case, int], dict[str, float] | Refused] = {}

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.stop()

    def times(self, cases: Sequence[Case], threads: int) -> list[list[float]]:
        """Seconds of interleaved cases, one list a case with one value a round."""
        worker = self._workers.setdefault(threads, Worker(threads, self.timeout))
        return worker.ask(
            measure="times",
            cases=[dataclasses.asdict(case) for case in cases],
            repeats=self.repeats,
            budget=self.budget,
        )

    def peak(self, case: Case, threads: int) -> dict[str, float]:
        """Extra memory ``mb`` and ``seconds`` of one step in a process of its own."""
        key = case, threads
        if key not in self._peaks:
            self._peaks[key] = self._measure_peak(case, threads)
        found = self._peaks[key]
        if isinstance(found, Refused):
            raise found
        return found

    def _measure_peak(self, case: Case, threads: int) -> dict[str, float] | Refused:
        if self._peaks_left <= 0:
            return {"mb": math.nan, "seconds": math.nan}
        self._peaks_left -= 1
        with Worker(threads, self.timeout) as worker:
            try:
                return worker.ask(measure="peak", case=dataclasses.asdict(case))
            except Refused as error:
                return error


class Notes:
    """Footnotes of one table."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def cell(self, make: Callable[..., str], *arguments: Any) -> str:
        """What a function gives, or the mark of the reason why it gives nothing."""
        try:
            return make(*arguments)
        except Refused as error:
            return self.missing(error)

    def missing(self, error: Refused) -> str:
        """Cell for what could not be measured."""
        return f"{MISSING} [{self.mark(str(error))}]"

    def mark(self, text: str) -> int:
        """Number of a footnote."""
        text = text.replace("|", "/")
        if text not in self._texts:
            self._texts.append(text)
        return self._texts.index(text) + 1

    def under(self, table: str) -> str:
        """The table with its footnotes."""
        notes = [f"[{i}] {text}" for i, text in enumerate(self._texts, 1)]
        return "\n\n".join([table, *notes])


def whole_network(
    session: Session,
    threads: int,
    peak_threads: int,
    lengths: Sequence[int],
    batches: Sequence[int],
) -> str:
    """Ours against the published structure, inference and training step."""
    sizes = [(n, lengths[0]) for n in batches] + [(1, s) for s in lengths[1:]]
    notes = Notes()
    rows = []
    for (batch, seconds), mode in _progress(
        [(size, mode) for size in sizes for mode in ("inference", "training")],
        "whole network",
    ):
        ours = Case("network", seconds * SFREQ, batch=batch, mode=mode)
        published = dataclasses.replace(ours, model="published network")
        rows.append(
            [
                f"{batch} x {seconds} s",
                mode,
                *_against(session, notes, published, ours, threads),
                *_peaks_against(session, notes, published, ours, peak_threads),
            ]
        )
    header = ["case", "mode", "published, s", "ours, s", "ratio", "rounds"]
    header += ["published peak, MB", "ours peak, MB", "ratio of peaks"]
    title = f"### Whole network, threads: {threads} (peaks: {peak_threads})"
    return f"{title}\n\n{notes.under(markdown_table(header, rows))}"


def _against(
    session: Session, notes: Notes, published: Case, ours: Case, threads: int
) -> list[str]:
    try:
        slow, fast = session.times([published, ours], threads)
    except Refused as error:
        return [notes.missing(error), *[MISSING] * 3]
    ratio = f"{median_ratio(slow, fast):.2f}"
    return [_median(slow), _median(fast), ratio, str(len(slow))]


def _peaks_against(
    session: Session, notes: Notes, published: Case, ours: Case, threads: int
) -> list[str]:
    def ratio() -> str:
        more, less = (session.peak(c, threads)["mb"] for c in (published, ours))
        return _number(more / less, ".1f") if less else MISSING

    cells = [notes.cell(_megabytes, session, c, threads) for c in (published, ours)]
    return [*cells, notes.cell(ratio)]


def classifiers(
    session: Session, threads: int, lengths: Sequence[int], models: Sequence[str]
) -> str:
    """Time of other classifiers over SAMBA's beside it, one window, inference."""
    notes = Notes()
    samba: dict[int, list[float]] = {seconds: [] for seconds in lengths}

    def ratio(name: str, rate: int, seconds: int) -> str:
        ours = Case("SAMBA", seconds * SFREQ)
        other = Case(name, seconds * rate, sfreq=rate)
        theirs, beside = session.times([other, ours], threads)
        samba[seconds] += beside
        cell = f"{median_ratio(theirs, beside):.2f} ({_median(theirs)} s)"
        if len(theirs) == session.repeats:
            return cell
        return f"{cell} [{notes.mark('fewer rounds, because each takes long')}]"

    rows = []
    for name, rate in _progress(_rivals(models), f"classifiers, {threads} threads"):
        cells = [notes.cell(ratio, name, rate, seconds) for seconds in lengths]
        rows.append([_title(name, rate), *cells])
    own = [f"1 ({_median(samba[seconds])} s)" for seconds in lengths]
    rows.insert(0, [_title("SAMBA", SFREQ), *own])
    title = (
        f"### Classifiers, inference, one window, threads: {threads}\n\n"
        "Time over SAMBA's beside it (above 1: slower than SAMBA), and seconds."
    )
    return f"{title}\n\n{notes.under(markdown_table(_length_header(lengths), rows))}"


def classifier_peaks(
    session: Session, threads: int, lengths: Sequence[int], models: Sequence[str]
) -> str:
    """Memory of the same classifiers."""
    notes = Notes()
    rows = []
    for name, rate in _progress([("SAMBA", SFREQ), *_rivals(models)], "their memory"):
        cases = [Case(name, seconds * rate, sfreq=rate) for seconds in lengths]
        cells = [notes.cell(_megabytes, session, case, threads) for case in cases]
        rows.append([_title(name, rate), *cells])
    title = f"### Classifiers, extra memory of one inference, MB, threads: {threads}"
    return f"{title}\n\n{notes.under(markdown_table(_length_header(lengths), rows))}"


def growth(session: Session, threads: int, lengths: Sequence[int]) -> str:
    """Our times and peaks over length, and their exponents."""
    kinds = [("network", "inference"), ("network", "training"), ("SAMBA", "inference")]
    notes = Notes()
    columns = []
    for model, mode in _progress(kinds, "growth"):
        cases = [Case(model, seconds * SFREQ, mode=mode) for seconds in lengths]
        for measure, form in ((_medians, ".3g"), (_peaks, ".0f")):
            try:
                values = measure(session, cases, threads)
            except Refused as error:
                columns.append([notes.missing(error)] * (len(lengths) + 1))
            else:
                columns.append(_growing(lengths, values, form))
    first = [f"{seconds} s" for seconds in lengths] + [f"exponent from {FIT_FROM} s"]
    rows = [list(row) for row in zip(first, *columns, strict=True)]
    header = ["length"]
    for model, mode in kinds:
        name = "classifier" if model == "SAMBA" else "network"
        header += [f"{name}, {mode}, s", "MB"]
    title = f"### Growth with length, one window, threads: {threads}"
    return f"{title}\n\n{notes.under(markdown_table(header, rows))}"


def _medians(session: Session, cases: Sequence[Case], threads: int) -> list[float]:
    return [statistics.median(times) for times in session.times(cases, threads)]


def _peaks(session: Session, cases: Sequence[Case], threads: int) -> list[float]:
    return [session.peak(case, threads)["mb"] for case in cases]


def _growing(lengths: Sequence[int], values: Sequence[float], form: str) -> list[str]:
    """A column: values, and their exponent."""
    far = [
        (size, value)
        for size, value in zip(lengths, values, strict=True)
        if size >= FIT_FROM and value > 0
    ]
    slope = exponent([size for size, _ in far], [value for _, value in far])
    return [*(_number(value, form) for value in values), _number(slope, ".2f")]


def throughput(session: Session, threads: int, seconds: int, batch: int) -> str:
    """Windows a second of a training step, ours against the published structure."""
    notes = Notes()
    rows = []
    for n_chans in _progress([16, 64], "throughput"):
        ours = Case("network", seconds * SFREQ, SFREQ, batch, n_chans, "training")
        published = dataclasses.replace(ours, model="published network")
        try:
            slow, fast = session.times([published, ours], threads)
        except Refused as error:
            rows.append([str(n_chans), notes.missing(error), MISSING, MISSING])
            continue
        rates = [batch / statistics.median(times) for times in (slow, fast)]
        cells = [f"{rate:.3g}" for rate in rates]
        rows.append([str(n_chans), *cells, f"{median_ratio(slow, fast):.2f}"])
    header = ["channels", "published, windows/s", "ours, windows/s", "ratio"]
    title = f"### Training, {batch} x {seconds} s, threads: {threads}"
    return f"{title}\n\n{notes.under(markdown_table(header, rows))}"


def million(session: Session, threads: int) -> str:
    """One window of 1,000,000 samples and 16 channels, without gradients."""
    notes = Notes()
    names = {"SAMBA": "classifier", "network": "reconstructor"}
    rows = []
    for model, name in _progress(list(names.items()), "a million samples"):
        case = Case(model, 1_000_000)
        cells = [notes.cell(m, session, case, threads) for m in (_once, _megabytes)]
        rows.append([name, *cells])
    table = markdown_table(["model", "seconds", "peak, MB"], rows)
    title = f"### 1,000,000 samples x 16 channels in one pass, threads: {threads}"
    return f"{title}\n\n{notes.under(table)}"


def _progress(items: list, what: str) -> tqdm:
    return tqdm(items, desc=what, leave=False, disable=None)


def _rivals(models: Sequence[str]) -> list[tuple[str, int]]:
    rates = [(name, rate) for name in models for rate in RATES[name]]
    return [("published encoder", SFREQ), *rates]


def _title(name: str, rate: int) -> str:
    return f"{name} ({rate} Hz)"


def _length_header(lengths: Sequence[int]) -> list[str]:
    return ["model (rate)", *(f"{seconds} s" for seconds in lengths)]


def _megabytes(session: Session, case: Case, threads: int) -> str:
    return _number(session.peak(case, threads)["mb"], ".0f")


def _once(session: Session, case: Case, threads: int) -> str:
    return _number(session.peak(case, threads)["seconds"], ".1f")


def _median(times: Sequence[float]) -> str:
    return _number(statistics.median(times), ".3g") if times else MISSING


def _number(value: float, form: str) -> str:
    return MISSING if math.isnan(value) else format(value, form)
