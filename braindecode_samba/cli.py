"""The command line: what may be asked, and how it ends.

0 is success, 1 a failure, 2 a command that nobody can mean, 130 an interruption by the
user; errors are one sentence.  What is done lies in the rooms.
"""

import argparse
import contextlib
import io
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import pandas as pd

from braindecode_samba._paths import whole_file
from braindecode_samba._version import __version__
from braindecode_samba.estimators import SAMBAClassifier, decode_file
from braindecode_samba.pretraining.config import (
    ConfigError,
    describe_keys,
    read_config,
    shipped_configs,
)
from braindecode_samba.pretraining.environment import describe_environment
from braindecode_samba.pretraining.preparing import prepare
from braindecode_samba.pretraining.run import pretrain

__all__ = ["main"]

_NAME = "braindecode-samba"
_CSV: Any = {"index": False, "float_format": "%.4f"}
_PICTURES = (".png", ".pdf", ".svg")
_GO_ON = "what is finished is kept, and the same command goes on from there"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a command says.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words of the command; those of the command line by default.

    Returns
    -------
    int
        The exit code.
    """
    options = vars(_make_parser().parse_args(arguments))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log shows each line at once
    bars: Any = sys.stderr if sys.stderr.isatty() else _LineAMinute(sys.stderr)
    try:
        with contextlib.redirect_stderr(bars):
            options.pop("run")(**options)
    except ConfigError as error:
        return _fail(error, 2)
    except (ValueError, TypeError, OSError, ImportError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail(f"interrupted: {_GO_ON}", 130)
    return 0


def _fail(reason: object, code: int) -> int:
    print(f"{_NAME}: {reason}", file=sys.stderr)
    return code


def _info() -> None:
    print("\n".join(describe_environment()))


def _config(name: str | None) -> None:
    configs = shipped_configs()
    if name is not None:
        print(configs[name].read_text("utf-8"), end="")
        return
    print(f"Shipped configs: {', '.join(configs)}.  To change one, keep it in a file:")
    print(f"    {_NAME} config small > my.json")
    print("\nKeys of a config, their defaults and what they mean:")
    print("\n".join(describe_keys()))


def _prepare(config: str, **options: Any) -> None:
    prepare(read_config(config), **options)


def _pretrain(config: str, init: str | None, **options: Any) -> None:
    settings = read_config(config)
    if init is not None:
        settings = settings.model_copy(update={"init": init})
    if pretrain(settings, **options):
        print(f"wrote {options['output'] / 'checkpoint'}")
    else:
        print(f"stopped after {options['max_minutes']:g} minutes: {_GO_ON}")


def _decode(
    file: Path,
    decoder: str,
    output: Path | None,
    figure: Path | None,
    exclude: Sequence[str],
) -> None:
    if figure is not None:
        from braindecode_samba.plots import plot_course
    fitted = SAMBAClassifier.from_pretrained(decoder)
    parts: list[pd.DataFrame] = []
    # rows that are printed as they come show how far it is
    for part in decode_file(fitted, file, exclude=exclude, bar=output is not None):
        if output is None:
            part.to_csv(sys.stdout, header=not parts, **_CSV)
        parts.append(part)
    table = pd.concat(parts)
    if output is not None:
        with whole_file(output) as csv:
            table.to_csv(csv, **_CSV)
    if figure is not None:
        with whole_file(figure) as picture:
            plot_course(table).savefig(picture, format=figure.suffix[1:], dpi=120)


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_NAME, description="SAMBA, an EEG foundation model.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> Any:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added.add_argument

    text = "print versions, processors, checkpoints and caches, for a bug report"
    command("info", _info, text)

    text = "print the shipped configs and what each key means, or one as JSON"
    add = command("config", _config, text)
    add("name", nargs="?", choices=list(shipped_configs()))

    configs = f"JSON, or one of {', '.join(shipped_configs())}; small by default"
    text = "cut the recordings in a folder into windows, once"
    add = command("prepare", _prepare, text)
    add("folder", metavar="FOLDER", type=_folder, help="with recordings")
    add("--stores", required=True, type=Path, help="folder that receives the windows")
    add("--config", default="small", metavar="FILE", help=configs)
    text = "finds the person in a recording's path; group 1, if there is one"
    add("--subject", type=_expression, metavar="REGEX", help=text)
    add("--dry-run", action="store_true", help="tell what is found, and stop")
    add("--skip-broken", action="store_true", help="leave out what can't be used")

    text = "decode a recording by a fitted decoder: a probability over time"
    add = command("decode", _decode, text)
    add("file", metavar="FILE", type=Path, help="of any format that MNE reads")
    text = "fists, eyes, a folder or owner/name on the hub"
    add("--decoder", required=True, metavar="NAME", help=text)
    text = "CSV to write, with a row a window; it is printed by default"
    add("--output", type=_place, metavar="CSV", help=text)
    add("--figure", type=_picture, metavar="PICTURE", help="picture to write")
    text = "channels to leave out, beside those marked as bad"
    add("--exclude", nargs="+", default=(), metavar="CHANNEL", help=text)

    text = "pretrain on windows, or go on with a pretraining"
    add = command("pretrain", _pretrain, text)
    add("--stores", required=True, type=Path, help="folder that prepare has filled")
    add("--output", required=True, type=Path, help="folder of the run")
    add("--config", default="small", metavar="FILE", help=configs)
    add("--max-minutes", type=float, metavar="N", help="stop then, to go on later")
    text = "begin with its weights: a shipped name, a folder or owner/name on the hub"
    add("--init", metavar="CHECKPOINT", help=text)
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--workers", type=_whole, default=0, metavar="N", help="processes that read")
    text = "from one kept state to the next; 100 by default"
    add("--every-batches", type=int, default=100, metavar="N", help=text)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return Path(text)


def _place(text: str) -> Path:
    path = Path(text)
    _folder(str(path.parent))
    if not path.name or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a file")
    return path


def _picture(text: str) -> Path:
    path = _place(text)
    if path.suffix not in _PICTURES:
        known = ", ".join(_PICTURES)
        raise argparse.ArgumentTypeError(f"{text!r} is no picture: end it in {known}")
    return path


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no expression ({error})"
        ) from None
    return text


class _LineAMinute:
    """A stream that is no terminal, on which progress bars are a line a minute."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = time.monotonic()
        self._in_bar = False

    def isatty(self) -> bool:
        """Say yes, so that there are bars."""
        return True

    def write(self, text: str) -> int:
        """Pass on what is no bar, and a bar if it is time."""
        if text.startswith("\r"):
            self._in_bar = True
            if text.strip() and time.monotonic() - self._last >= 60:
                self._last = time.monotonic()
                print(text.strip(), file=self._stream, flush=True)
        else:
            # a bar that is closed ends its line
            self._stream.write(text.removeprefix("\n") if self._in_bar else text)
            self._in_bar = False
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
