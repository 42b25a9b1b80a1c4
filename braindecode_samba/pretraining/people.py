"""Recordings in a folder, and who is who among them, by names alone.

Laboratories name files as they like.  The rules are tried in the order in which they
stand in `tell_people`: the first that fits decides, and comes with the name.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# formats of EEG that `mne.io.read_raw` reads
_FORMATS = (
    *(".ahdr", ".bdf", ".cdt", ".cnt", ".edf", ".eeg", ".fif", ".fif.gz", ".gdf"),
    *(".lay", ".mff", ".nedf", ".nxe", ".set", ".vhdr"),
)
_BIDS = re.compile(r"(?:^|(?<=_))sub-[a-z0-9]+", re.IGNORECASE)
_TUH = re.compile(r"^[a-z]{8}(?=_s\d{3}_t\d{3})")
# what tells the recordings of a person apart: dates and words, with their numbers
_OCCASION = re.compile(
    r"(?<![^\W_])(?:(?:19|20)\d\d[-_.]?\d\d[-_.]?\d\d|(?:ses|task)-[^_]*|[rt]\d+"
    r"|(?:ses|sess|session|run|rec|record|recording|day|night|visit|task|trial|block"
    r"|part|rest|resting|baseline|eyes?|open|closed|eo|ec|eeg|raw|rawdata|sourcedata"
    r"|derivatives|data|files|train|test|dev|val|eval)[-_. ]?\d*)(?![^\W_])",
    re.IGNORECASE,
)
_NAMED_PERSON = re.compile(
    r".*?(?<![a-z])(?!p300)(?:subject|subj|sub|participant|patient|pat|proband|person|vp|p)_?\d+",
    re.IGNORECASE,
)
# letters and a number, but not those of places, potentials and data sets, nor years
_NUMBERED = re.compile(
    r"(?!(?:lab|laboratory|site|center|centre|clinic|hospital|group|cohort|ds|dataset"
    r"|corpus|set|study|exp|experiment|version|v|batch|fold)_?\d"
    r"|[pn](?:[1-4]00|170)(?!\d))"
    r"(?![a-z]*_?(?:19|20)\d\d(?!\d))[a-z]+_?\d+",
    re.IGNORECASE,
)


class Person(NamedTuple):
    """Whose a recording is, and by which rule."""

    name: str
    rule: str


def find_recordings(folder: Path, patterns: Sequence[str] | None = None) -> list[Path]:
    """List the recordings in a folder and below, without hidden files.

    Parameters
    ----------
    folder : pathlib.Path
        Where to look.
    patterns : sequence of str, optional
        Of paths below the folder, such as ``"*/*.edf"``; by default all formats of EEG
        that MNE reads.

    Returns
    -------
    list of pathlib.Path
        In order of their names.
    """
    found = {path for pattern in patterns or ["**/*"] for path in folder.glob(pattern)}

    def counts(path: Path) -> bool:
        name = path.name.lower()
        hidden = any(p.startswith(".") for p in path.relative_to(folder).parts)
        known = patterns is not None or name.endswith(_FORMATS)
        return known and not hidden and (name.endswith(".mff") or not path.is_dir())

    return sorted(filter(counts, found), key=lambda path: path.as_posix())


def tell_people(insides: Sequence[str], subject: str | None = None) -> list[Person]:
    """Say whose each recording is, by its path.

    Parameters
    ----------
    insides : sequence of str
        Paths inside a folder, with ``/``.
    subject : str, optional
        A regular expression on these paths, of which group 1, or all of it, names the
        person. By default, names of BIDS (``sub-01``) and of the Temple University
        corpora are known; else the first folder or file that is called like a person
        or numbered names one, together with the folders around it; else files that are
        called like occasions (``rest.edf``, or alike in several folders) belong to
        their folder, and others are a person each.

    Returns
    -------
    list of Person
        One for each path. People of different laboratories have different names.

    Raises
    ------
    ValueError
        If the expression is not in a path.
    """
    if subject is not None:
        return [_by_expression(inside, subject) for inside in insides]
    paths = [PurePosixPath(inside) for inside in insides]
    # what all paths begin with tells nobody apart
    n_common = _count_common([path.parent.parts for path in paths])
    named = [
        _by_standard(path) or _by_number(path, n_common) or _by_number(path, 0)
        for path in paths
    ]
    others = [path for path, person in zip(paths, named, strict=True) if not person]
    owners = _find_owners(others, n_common)
    return [
        person or _by_place(path, owners[path.parent])
        for path, person in zip(paths, named, strict=True)
    ]


def hold_out(people: Sequence[str]) -> list[str]:
    """Choose a tenth of the people, at least one, to watch the loss; of one nobody.

    The choice follows from the names, and changes little when more people come.
    """
    ranks = {one: hashlib.blake2b(one.encode()).digest() for one in set(people)}
    n_held_out = max(1, len(ranks) // 10) if len(ranks) > 1 else 0
    return sorted(sorted(ranks, key=ranks.__getitem__)[:n_held_out])


def _by_expression(inside: str, subject: str) -> Person:
    match = re.search(subject, inside)
    if match is None:
        raise ValueError(f"the expression {subject!r} finds no person in {inside}")
    return Person(match[1] if match.re.groups else match[0], "by --subject")


def _by_standard(path: PurePosixPath) -> Person | None:
    if match := _TUH.search(path.name):
        return Person(match[0], "by TUH names")
    for row, part in enumerate(path.parts):
        if match := _BIDS.search(part):
            return Person(_join(path.parts[:row], match[0]), "by BIDS names")
    return None


def _by_number(path: PurePosixPath, n_common: int) -> Person | None:
    parts = [*path.parent.parts, path.stem]
    for pattern in (_NAMED_PERSON, _NUMBERED):
        for row, part in enumerate(parts[n_common:], n_common):
            in_folder = row < len(parts) - 1
            alone = r"\d+" if in_folder else r"\d{3,}"
            words = _words(part)
            match = pattern.match(words) or re.fullmatch(alone, words)
            if match:
                kind = "by numbered folders" if in_folder else "by numbered files"
                return Person(_join(parts[:row], match[0]), kind)
    return None


def _find_owners(
    paths: Sequence[PurePosixPath], n_common: int
) -> dict[PurePosixPath, Person | None]:
    """Tell of each folder whose it is; None if each of its files is a person."""
    folders_of = defaultdict(set)
    for path in paths:
        folders_of[_words(path.stem)].add(path.parent)
    owners: dict[PurePosixPath, Person | None] = {}
    for path in paths:
        places, words = _places(path.parent.parts), _words(path.stem)
        apart = len(_places(path.parent.parts[:n_common])) < len(places)
        is_occasion = places and (
            not re.search("[a-z]", words, re.IGNORECASE)
            or (apart and len(folders_of[words]) > 1)
            or (apart and words.lower().startswith(places[-1].lower()))
        )
        owner = Person("/".join(places), "by folders") if is_occasion else None
        owners[path.parent] = owner if owners.get(path.parent, owner) else None
    return owners


def _by_place(path: PurePosixPath, owner: Person | None) -> Person:
    name = _words(path.stem) or path.stem
    return owner or Person(_join(path.parent.parts, name), "by files")


def _words(name: str) -> str:
    """Give a name without what tells occasions apart: ``rest_p1_run2`` becomes p1."""
    return re.sub(r"[\s_.]+|-(?=\d)", "_", _OCCASION.sub("", name)).strip("_-")


def _join(folders: Sequence[str], name: str) -> str:
    places = _places(folders)
    return "/".join(places if places[-1:] == [name] else [*places, name])


def _places(folders: Sequence[str]) -> list[str]:
    """Leave out folders that are occasions, and steps of processing."""
    before = ["", *folders]
    pairs = zip(before, folders, strict=False)
    return [one for outer, one in pairs if _words(one) and outer != "derivatives"]


def _count_common(folders: Sequence[Sequence[str]]) -> int:
    columns = zip(*folders, strict=False)
    counts = [len(set(column)) == 1 for column in columns]
    return counts.index(False) if False in counts else len(counts)
