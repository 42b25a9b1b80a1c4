"""From a folder of recordings to windows on disk, and back to the windows of a run.

What is found is told before anything is written.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from braindecode_samba.nn.scaling import MODEL_SFREQ
from braindecode_samba.pretraining.config import (
    Config,
    ConfigError,
    CorpusConfig,
    is_chosen,
)
from braindecode_samba.pretraining.corpora import write_windows
from braindecode_samba.pretraining.people import (
    Person,
    find_recordings,
    hold_out,
    tell_people,
)
from braindecode_samba.pretraining.recordings import (
    CuttingSettings,
    Header,
    check_recording,
)
from braindecode_samba.pretraining.sources import RecordingSource
from braindecode_samba.pretraining.store import WindowStore
from braindecode_samba.signals.broken import RecordingError

# names that are told of each kind
_MOST_NAMES = 12


class _Found(NamedTuple):
    path: Path
    person: Person
    header: Header


def prepare(
    config: Config,
    folder: Path,
    stores: Path,
    *,
    subject: str | None = None,
    dry_run: bool = False,
    skip_broken: bool = False,
) -> None:
    """Tell what a folder holds, and write the windows of each corpus into a store.

    Parameters
    ----------
    config : Config
        What to take and how to cut it.
    folder : pathlib.Path
        With recordings.
    stores : pathlib.Path
        Where a store for each corpus goes.
    subject : str, optional
        A regular expression that names people, instead of the config's.
    dry_run : bool
        Write nothing.
    skip_broken : bool
        Leave out recordings that can't be used, and list them at the end.

    Raises
    ------
    ValueError
        If there are no recordings, or some can't be used.
    """
    settings = CuttingSettings(**config.windows, unknown="drop")
    corpora = config.corpora or {folder.resolve().name or "recordings": CorpusConfig()}
    broken: list[RecordingError] = []
    found = {}
    for name, corpus in corpora.items():
        listed = _list(name, corpus, folder, subject or corpus.subject)
        found[name] = _read_headers(listed, settings, broken)
        _tell(name, corpus, found[name], settings)
    if broken and not skip_broken:
        _tell_broken(broken)
        raise ValueError(
            "recordings can't be used: repair or remove those listed above, or pass "
            "--skip-broken"
        )
    if not dry_run:
        for name, recordings in found.items():
            try:
                store = write_windows(
                    [one.path for one in recordings],
                    stores / name,
                    subjects=[one.person.name for one in recordings],
                    unknown="drop",
                    on_broken=broken.append if skip_broken else None,
                    **config.windows,
                )
            except RecordingError as error:
                raise ValueError(f"{error}: pass --skip-broken") from error
            _tell_written(name, store)
    _tell_broken(broken)


def read_stores(
    config: Config, folder: Path
) -> tuple[dict[str, WindowStore], dict[str, WindowStore]]:
    """Open the windows to train on, and the held-out ones, by the name of the corpus.

    Parameters
    ----------
    config : Config
        Its corpora; without any, all stores in the folder are taken.
    folder : pathlib.Path
        Where `prepare` has put stores, which may hold more people than are taken.

    Returns
    -------
    learnt, watched : dict of WindowStore
        A corpus in which nobody is held out is not in the second.

    Raises
    ------
    ConfigError
        If there are no such stores, or they were made in another way.
    """
    names = sorted({path.parent.name for path in folder.glob("*/*.npy")})
    corpora = config.corpora or dict.fromkeys(names, CorpusConfig())
    if not corpora:
        raise ConfigError(
            f"{folder} holds no windows: run `braindecode-samba prepare` first"
        )
    learnt, watched = {}, {}
    for name, corpus in corpora.items():
        if not (folder / name / "index.json").is_file():
            raise ConfigError(
                f"{folder / name} holds no finished windows: run `braindecode-samba "
                "prepare`, which goes on where it stopped"
            )
        store = WindowStore(folder / name)
        _refuse_other_windows(store, config)
        people = [one for one in store.subjects if is_chosen(one, corpus.subjects)]
        held_out = _hold_out(name, people, corpus)
        others = [one for one in people if one not in held_out]
        learnt[name] = WindowStore(folder / name, others)
        if held_out:
            watched[name] = WindowStore(folder / name, held_out)
    return learnt, watched


def _list(
    name: str, corpus: CorpusConfig, root: Path, subject: str | None
) -> list[tuple[Path, Person]]:
    """Pair the recordings of a corpus with people."""
    folder = root / corpus.folder
    paths = find_recordings(folder, corpus.files)
    insides = [path.relative_to(folder).as_posix() for path in paths]
    pairs = list(zip(paths, tell_people(insides, subject), strict=True))
    chosen = [pair for pair in pairs if is_chosen(pair[1].name, corpus.subjects)]
    if not chosen:
        raise ValueError(
            f"corpus {name} has no recordings: of {len(paths)} in {folder} none is "
            f"of people {', '.join(corpus.subjects)}"
            if paths
            else f"corpus {name} has no recordings: {folder} holds none"
            + (f" of {', '.join(corpus.files)}" if corpus.files else "")
        )
    return chosen


def _read_headers(
    listed: Sequence[tuple[Path, Person]],
    settings: CuttingSettings,
    broken: list[RecordingError],
) -> list[_Found]:
    """Read what can be read; the names of what can't go into a list."""
    found, faults = [], {}
    bar = tqdm(listed, desc="headers", unit="recording", disable=None, leave=False)
    for number, (path, person) in enumerate(bar):
        try:
            source = RecordingSource(path, person.name, number)
            found.append(_Found(path, person, check_recording(source, settings)))
        except RecordingError as error:
            faults[path] = error
    # parts of a recording, which is read by its first file
    parts = {file for one in found for file in one.header.files if file != one.path}
    broken += [error for path, error in faults.items() if path not in parts]
    return [one for one in found if one.path not in parts]


def _tell(
    name: str, corpus: CorpusConfig, found: Sequence[_Found], settings: CuttingSettings
) -> None:
    rules = {one.person.name: one.person.rule for one in found}
    headers = [one.header for one in found]
    minutes = sum(header.seconds for header in headers) / 60
    print(f"{name}\n  recordings: {len(found)}, {minutes:.1f} minutes")
    told = ", ".join(f"{n} {rule}" for rule, n in Counter(rules.values()).items())
    print(f"  people: {len(rules)}, {told}: {_some(rules)}")
    held_out = _hold_out(name, list(rules), corpus)
    print(f"  held out: {_some(held_out) or 'nobody'}")
    print(f"  electrodes: {_count(len(header.channels) for header in headers)}")
    if strangers := {c for header in headers for c in header.dropped_channels}:
        print(f"  channels without a known place: {_some(sorted(strangers))}")
    print(f"  rates: {_count((f'{header.sfreq:g}' for header in headers), ' Hz')}")
    megabytes = sum(header.n_bytes for header in headers) / 1e6
    print(
        f"  windows: {settings.window_seconds:g} s, one every "
        f"{settings.stride_seconds:g} s, at {settings.sfreq:g} Hz; about "
        f"{megabytes:.1f} MB"
    )


def _tell_written(name: str, store: WindowStore) -> None:
    print(f"{name}: {len(store)} windows of {len(store.subjects)} people")
    for recording in store.recordings:
        if why := {why: n for why, n in recording.dropped.items() if n}:
            counts = ", ".join(f"{n} {reason}" for reason, n in why.items())
            print(f"  {recording.subject}, {recording.source}: left out {counts}")


def _tell_broken(broken: Sequence[RecordingError]) -> None:
    if broken:
        print(f"recordings that can't be used: {len(broken)}")
    for error in broken:
        print(f"  {error}")


def _hold_out(name: str, people: Sequence[str], corpus: CorpusConfig) -> list[str]:
    if corpus.held_out is None:
        return hold_out(people)
    held_out = [one for one in people if is_chosen(one, corpus.held_out)]
    if people and len(held_out) == len(people):
        raise ConfigError(f"corpus {name} holds out everybody: name fewer")
    return held_out


def _refuse_other_windows(store: WindowStore, config: Config) -> None:
    settings = CuttingSettings(**config.windows)
    wanted = {setting: getattr(settings, setting) for setting in config.windows}
    model_sfreq = config.model.get("model_sfreq", MODEL_SFREQ)
    for setting, value in ({"sfreq": model_sfreq} | wanted).items():
        if store.settings[setting] != value:
            raise ConfigError(
                f"{store.folder} was prepared with {setting}={store.settings[setting]},"
                f" and the config has {value}: prepare the windows again, in another "
                "folder"
            )


def _some(names: Iterable[str]) -> str:
    """List names, not too many."""
    listed = list(names)
    more = len(listed) - _MOST_NAMES
    shown = ", ".join(listed[:_MOST_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown


def _count(values: Iterable[Any], unit: str = "") -> str:
    counts = Counter(values)
    return ", ".join(f"{value}{unit} in {n}" for value, n in counts.most_common())
