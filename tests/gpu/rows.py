"""Results as rows: kept as JSON, one file a case, and written as one table.

A case that is here already is not run again; to have it run again, delete its file.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    case : str
        What was run.
    measure : str
        What was measured.
    value : float, str or None
        Result.
    unit : str
        Unit of the value.
    limit : str
        What is demanded, in words; empty where nothing is.
    ok : bool or None
        Whether that holds; None where nothing is demanded.
    note : str
        What a reader must know besides.
    """

    case: str
    measure: str
    value: float | str | None
    unit: str = ""
    limit: str = ""
    ok: bool | None = None
    note: str = ""


def at_most(
    case: str,
    measure: str,
    value: float,
    limit: float,
    unit: str = "",
    note: str = "",
) -> Row:
    """Row whose value may not exceed a limit; a NaN exceeds it."""
    return Row(case, measure, value, unit, f"<= {limit:g}", value <= limit, note)


def at_least(
    case: str,
    measure: str,
    value: float,
    limit: float,
    unit: str = "",
    note: str = "",
) -> Row:
    """Row whose value may not fall below a limit; a NaN falls below it."""
    return Row(case, measure, value, unit, f">= {limit:g}", value >= limit, note)


def failure(case: str, error: str) -> Row:
    """Row of a case that raised or whose process ended."""
    return Row(case, "error", " ".join(error.split())[:300], ok=False)


class Store:
    """Folder with the rows of every case that was run.

    Parameters
    ----------
    folder : pathlib.Path
        Folder; made with its parents.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def _path(self, item: int, case: str) -> Path:
        return self.folder / f"{item} {re.sub(r'[^A-Za-z0-9=.]+', '-', case)}.json"

    def has(self, item: int, case: str) -> bool:
        """Whether a case was run to its end or to its failure."""
        return self._path(item, case).exists()

    def put(self, item: int, case: str, rows: Iterable[Row]) -> None:
        """Keep the rows of a case, and forget that it had begun."""
        text = json.dumps([asdict(row) for row in rows], indent=1)
        write_beside(self._path(item, case), text)
        self._begun(item).unlink(missing_ok=True)

    def _begun(self, item: int) -> Path:
        return self.folder / f"{item}.begun"

    def begin(self, item: int, case: str) -> None:
        """Note the case that runs now, in case its process does not survive it."""
        write_beside(self._begun(item), case)

    def take_begun(self, item: int) -> str | None:
        """Case that had begun and left no rows, if there is one; it is forgotten."""
        path = self._begun(item)
        if not path.exists():
            return None
        case = path.read_text()
        path.unlink()
        return case

    def rows(self) -> list[tuple[int, Row]]:
        """All rows with the numbers of their items, in order."""
        found = []
        for path in self.folder.glob("*.json"):
            item = int(path.name.split(" ")[0])
            found += [(item, path.stat().st_mtime_ns, path)]
        return [
            (item, Row(**row))
            for item, _, path in sorted(found)
            for row in json.loads(path.read_text())
        ]


def write_beside(path: Path, text: str) -> None:
    """Write a file beside its place and rename it: it is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    os.replace(beside, path)


def markdown(
    environment: Iterable[tuple[str, str]], rows: Iterable[tuple[int, Row]]
) -> str:
    """Results as Markdown: the machine, what does not hold, and one table.

    Parameters
    ----------
    environment : iterable of (str, str)
        Names and values of what the results depend on.
    rows : iterable of (int, Row)
        Rows with the numbers of their items.

    Returns
    -------
    str
        Text of the file.
    """
    rows = list(rows)
    demanded = [row for _, row in rows if row.ok is not None]
    failed = sum(not row.ok for row in demanded)
    lines = ["# GPU results", ""]
    lines += [f"- {name}: {value}" for name, value in environment]
    lines += [f"- demands: {len(demanded)}, of which {failed} do not hold", ""]
    lines += [
        "| item | case | measure | result | limit | holds | note |",
        "|---|---|---|---|---|---|---|",
    ]
    for item, row in rows:
        holds = {None: "", True: "yes", False: "**no**"}[row.ok]
        cells = [str(item), row.case, row.measure, _result(row), row.limit, holds]
        cells.append(row.note)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _result(row: Row) -> str:
    if row.value is None:
        return "not measured"
    text = row.value if isinstance(row.value, str) else f"{row.value:.4g}"
    return f"{text} {row.unit}".rstrip()
