"""A table of runs that takes days and is finished row by row, in any number of goes.

`ResumableTable` knows nothing of what a row computes; pipelines and statistics are in
`braindecode_samba.evaluation.pipelines`.
"""

import hashlib
import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from braindecode_samba._paths import write_whole
from braindecode_samba._version import __version__

Record = Mapping[str, Any]


class ResumableTable:
    """Rows of results in a folder, each computed once and written whole.

    A row is known by its settings.  Its file, ``<configuration>.json``, is there from
    the moment that the row is finished: a run that is interrupted goes on with the rows
    that are missing, and several processes may fill one folder.  Whatever changes a
    result must be among the settings, such as the hash of a checkpoint.

    Parameters
    ----------
    folder : str or path-like
        Where the rows are; it is made if need be.  With a cluster, every worker must
        see it under this name.
    command : str
        How the rows were asked for, noted in each.

    Examples
    --------
    >>> import tempfile
    >>> from braindecode_samba.evaluation import ResumableTable
    >>> def score(method, seed):
    ...     return [{"subject": 1, "score": 0.5}, {"subject": 2, "score": 0.75}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = ResumableTable(folder)
    ...     table.run([{"method": "CSP", "seed": 0}], score)
    ...     table.to_frame()[["method", "seed", "subject", "score"]]
      method  seed  subject  score
    0    CSP     0        1   0.50
    1    CSP     0        2   0.75
    """

    def __init__(self, folder: str | os.PathLike[str], command: str = "") -> None:
        # workers may stand in another folder, and this process may go to one
        self.folder = Path(folder).absolute()
        self.command = command
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        rows: Iterable[Mapping[str, Any]],
        function: Callable[..., Record | Sequence[Record]],
        *,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        """Compute the rows that are not finished yet.

        Parameters
        ----------
        rows : iterable of mapping
            Settings of each row: names of arguments and values that JSON can hold, with
            ``"seed"`` among them.
        function : callable
            ``function(**settings)`` gives a record or several, such as one a subject:
            mappings from column to a number or text.
        n_jobs : int, optional
            Rows at a time, see `joblib.Parallel`; None is one, or what
            `joblib.parallel_config` says, with any backend.
        verbose : int
            As for `joblib.Parallel`.

        Raises
        ------
        ValueError, TypeError
            If settings can't be written, or hold no seed; nothing is run then.
        RuntimeError
            If rows failed, with the first failure; all others are finished by then.
        """
        pending = self._pending(rows)
        failures = joblib.Parallel(n_jobs=n_jobs, verbose=verbose)(
            joblib.delayed(_run_row)(
                self.folder, configuration, settings, function, self.command
            )
            for configuration, settings in pending.items()
        )
        told = [failure for failure in failures if failure is not None]
        if told:
            raise RuntimeError(
                f"{len(told)} of {len(pending)} rows failed, run again to repeat them; "
                f"the first was {told[0]}"
            )

    def missing(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """List the settings of rows that are not finished, each once.

        Parameters
        ----------
        rows : iterable of mapping
            As for `run`.

        Returns
        -------
        list of dict
            In their order.
        """
        return list(self._pending(rows).values())

    def to_frame(self, rows: Iterable[Mapping[str, Any]] | None = None) -> pd.DataFrame:
        """Finished rows as a data frame.

        Parameters
        ----------
        rows : iterable of mapping, optional
            As for `run`: the rows to take, of which those that are missing are left
            out; None takes all that are in the folder.

        Returns
        -------
        pandas.DataFrame
            A line for each record: settings, columns of the record, ``minutes``,
            ``configuration`` and ``version``.

        Raises
        ------
        ValueError
            If a file in the folder is no row.
        """
        if rows is None:
            files = sorted(self.folder.glob("[!.]*.json"))
        else:
            known = {_configuration(row): None for row in rows}
            files = [self._file(key) for key in known if self._file(key).exists()]
        return pd.DataFrame([line for file in files for line in _read_row(file)])

    def _pending(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        known = {_configuration(row): dict(row) for row in rows}
        return {key: row for key, row in known.items() if not self._file(key).exists()}

    def _file(self, configuration: str) -> Path:
        return self.folder / f"{configuration}.json"


def _configuration(settings: Mapping[str, Any]) -> str:
    """Hash of settings, the same in every process and order."""
    if "seed" not in settings:
        raise ValueError(f"the row {dict(settings)} names no seed: add one")
    try:
        text = json.dumps(dict(settings), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the row {dict(settings)} holds what JSON can't ({error}): pass numbers, "
            "text, None, and lists or dicts of these"
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _run_row(
    folder: Path,
    configuration: str,
    settings: dict[str, Any],
    function: Callable[..., Record | Sequence[Record]],
    command: str,
) -> str | None:
    """Compute and write one row; what went wrong, or None."""
    start = time.perf_counter()
    try:
        result = function(**settings)
        records = [result] if isinstance(result, Mapping) else list(result)
        row = {
            "settings": settings,
            "configuration": configuration,
            "version": __version__,
            "command": command,
            "minutes": (time.perf_counter() - start) / 60,
            "records": [_checked(record, settings) for record in records],
        }
        text = json.dumps(row, indent=1, allow_nan=False, default=_plain)
    # a row may fail in any way, and the others must not be lost by it
    except Exception:
        return f"{settings}\n{traceback.format_exc()}"
    write_whole(folder / f"{configuration}.json", text.encode())
    return None


def _checked(record: Record, settings: Mapping[str, Any]) -> dict[str, Any]:
    if twice := sorted(
        set(record) & {*settings, "minutes", "configuration", "version"}
    ):
        raise ValueError(
            f"the record has the columns {twice}, which the row has already"
        )
    return dict(record)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in a record: give numbers or text")


def _read_row(file: Path) -> list[dict[str, Any]]:
    try:
        row = json.loads(file.read_bytes())
        told = {name: row[name] for name in ("minutes", "configuration", "version")}
        return [{**row["settings"], **record, **told} for record in row["records"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no row of a table ({error}): remove it") from None
