"""From recordings to windows on disk and back, for `pretrain.py`."""

import re
from pathlib import Path

from pretrain_config import is_chosen

from braindecode_samba.pretraining import WindowStore, write_windows


def find_recordings(corpus, roots):
    """List the files of a corpus and whose they are.

    Of equal paths below several roots the first one counts.
    """
    found = {}
    for root in roots:
        folder = Path(root, corpus["folder"])
        for pattern in corpus["files"]:
            for path in sorted(folder.glob(pattern)):
                found.setdefault(path.relative_to(folder).as_posix(), path)
    files, subjects = [], []
    for inside, path in sorted(found.items()):
        match = re.search(corpus["subject"], inside)
        if match is None:
            raise SystemExit(f"{corpus['subject']!r} finds no subject in {inside}")
        subject = match[1] if match.re.groups else match[0]
        if is_chosen(subject, corpus["subjects"]):
            files.append(path)
            subjects.append(subject)
    return files, subjects


def prepare(config, roots, folder):
    """Write the windows of each corpus into a store of its own."""
    if not roots:
        raise SystemExit("no data: pass --data-path, or set BRAINDECODE_SAMBA_DATA")
    for name, corpus in config["corpora"].items():
        files, subjects = find_recordings(corpus, roots)
        if not files:
            raise SystemExit(
                f"corpus {name} has no recordings: below --data-path there is no "
                f"{corpus['folder']}/ with {', '.join(corpus['files'])} of subjects "
                f"{', '.join(corpus['subjects'])}"
            )
        store = write_windows(
            files,
            folder / name,
            subjects=subjects,
            unknown="drop",
            **config["windows"],
        )
        print(f"{name}: {len(store)} windows of {len(store.subjects)} subjects")
        for recording in store.recordings:
            left_out = {why: n for why, n in recording.dropped.items() if n}
            if left_out:
                print(f"  {recording.source}: windows left out {left_out}")
        strangers = {c for r in store.recordings for c in r.dropped_channels}
        if strangers:
            print(f"  channels left out: {', '.join(sorted(strangers))}")


def read_stores(config, folder):
    """Open the windows to train on, and the held-out ones, by the name of the corpus.

    A store may hold more people than the config takes.
    """
    train, held_out = {}, {}
    for name, corpus in config["corpora"].items():
        store = WindowStore(folder / name)
        for setting, value in config["windows"].items():
            if store.settings[setting] != value:
                raise SystemExit(
                    f"{folder / name} was prepared with {setting}="
                    f"{store.settings[setting]}, and the config has {value}: prepare "
                    "the windows again, in another folder"
                )
        subjects = [s for s in store.subjects if is_chosen(s, corpus["subjects"])]
        watched = [s for s in subjects if is_chosen(s, corpus["held_out"])]
        learnt = [s for s in subjects if s not in watched]
        if not learnt:
            raise SystemExit(f"corpus {name} holds out everybody: name fewer")
        train[name] = WindowStore(folder / name, learnt)
        if watched:
            held_out[name] = WindowStore(folder / name, watched)
    return train, held_out
