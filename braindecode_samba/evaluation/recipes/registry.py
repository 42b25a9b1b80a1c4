"""The recipes themselves, by name.

What a recipe is stands in `recipe`; how files are read in `files`, `p300_files`, `tuab`
and `moabb_sets`.
"""

from functools import partial

from braindecode_samba.evaluation.recipes.files import (
    read_dreamer,
    read_listed_recordings,
    read_stew,
)
from braindecode_samba.evaluation.recipes.moabb_sets import read_left_right, read_p300
from braindecode_samba.evaluation.recipes.p300_files import read_competition_p300
from braindecode_samba.evaluation.recipes.recipe import Recipe
from braindecode_samba.evaluation.recipes.scores import published_scores
from braindecode_samba.evaluation.recipes.tuab import read_tuab

__all__ = ["describe_recipes", "get_recipe", "list_recipes"]

_BAND = (0.5, 40.0)
_EMOTIV = "emotiv_epoc_14"
_LISTED = (
    "recordings.csv (columns file, subject, label; start and stop in seconds where a "
    "recording shows several states) and the recordings that it lists, in a format "
    "that MNE reads and with the 14 electrodes by name"
)
_EMOTIV_PROTOCOL = (
    "Published: 14 channels, 128 Hz, windows of 256 samples, pass band 0.5 to 40 Hz, "
    "binary, subjects in one part only. Ours: the filter acts on continuous signals, "
    "a window each 0.5 s (which gives the published number of windows of STEW), the "
    "split."
)
_OWN_SET = (
    "Emotiv's own, not public: ask Emotiv or the authors of the paper; no licence is "
    "known."
)


def _emotiv(
    name: str, title: str, access: str, n_subjects: int, classes: tuple[str, str]
) -> Recipe:
    return Recipe(
        name=name,
        title=title,
        access=access,
        layout=_LISTED,
        protocol=_EMOTIV_PROTOCOL,
        n_subjects=n_subjects,
        classes=classes,
        window_seconds=2.0,
        stride_seconds=0.5,
        band=_BAND,
        montage=_EMOTIV,
        read=read_listed_recordings,
    )


def _imagery(
    dataset: str, name: str, licence: str, n_subjects: int, montage: str | None
) -> Recipe:
    return Recipe(
        name=name,
        title=f"{dataset}: left against right imagined hand movement",
        access=f"MOABB downloads it ({licence}); public, no registration.",
        layout="MOABB's own folders; without data_path where MOABB keeps its data",
        protocol=(
            "Published: the data set, 128 Hz, a filter. Ours: left against right hand "
            "alone, 2 s from the cue, pass band 0.5 to 40 Hz, the split."
        ),
        n_subjects=n_subjects,
        classes=("left_hand", "right_hand"),
        window_seconds=2.0,
        stride_seconds=None,
        band=_BAND,
        montage=montage,
        read=partial(read_left_right, dataset),
    )


def _tuab(seconds: int) -> Recipe:
    return Recipe(
        name=f"tuab_{seconds}s",
        title=f"TUAB: normal against abnormal EEG, windows of {seconds} s",
        access=(
            "TUH Abnormal EEG Corpus v3.0.1, free on request from the Neural "
            "Engineering Data Consortium (isip.piconepress.com/projects/tuh_eeg); its "
            "terms forbid passing it on."
        ),
        layout="v3.0.1/edf/{train,eval}/{normal,abnormal}/01_tcp_ar/*.edf",
        protocol=(
            "Published: 16 bipolar derivations, 128 Hz, no filter, windows without "
            "overlap, the official evaluation part as test, a fifth of the other "
            "subjects for validation. Ours: the choice of that fifth is seeded, and a "
            "patient with normal and abnormal recordings stays in one part. Scaling is "
            "the model's. Windows are held in memory: 34 GB, twice that while divided."
        ),
        n_subjects=2383,
        classes=("abnormal", "normal"),
        window_seconds=float(seconds),
        stride_seconds=float(seconds),
        band=None,
        montage="tuh_bipolar_16",
        read=read_tuab,
    )


def _competition_p300(averaged: bool) -> Recipe:
    return Recipe(
        name="p300_averaged" if averaged else "p300_single",
        title=(
            "P300 speller of BCI competitions II (IIb) and III (II), "
            + ("mean over repetitions" if averaged else "single intensifications")
        ),
        access=(
            "bbci.de/competition, sections II (data set IIb) and III (data set II); "
            "free after registration, for research, to be cited."
        ),
        layout=(
            "Subject_A_Train.mat, Subject_B_Train.mat (competition III) and "
            "AAS010R01.mat to AAS011R06.mat (competition II, subject C)"
        ),
        protocol=(
            "Published: 64 electrodes, no filter, sets A, B and C aggregated over "
            "trials, in a way that is not described. Ours: all of it as we read it, "
            "windows of 1 s at 128 Hz, two subjects to learn from and one to test."
        ),
        n_subjects=3,
        classes=("nontarget", "target"),
        window_seconds=1.0,
        stride_seconds=None,
        band=None,
        montage="bci_competition_p300_64",
        read=partial(read_competition_p300, averaged),
        validation=False,
    )


_RECIPES = (
    _imagery("PhysionetMI", "physionet_mi", "ODC-By", 109, "physionetmi_64"),
    _imagery("BNCI2014_001", "bnci2014_001", "CC BY-ND", 9, "bnci2014_001_22"),
    _imagery("GrosseWentrup2009", "grosse_wentrup2009", "CC BY", 10, None),
    *(_tuab(seconds) for seconds in (10, 30, 60, 100)),
    _emotiv(
        "crowdsourced",
        "Crowdsourced: eyes open against closed, Emotiv EPOC",
        "osf.io/9bvgh, public, with its licence; 13 subjects have both states.",
        13,
        ("eyes_closed", "eyes_open"),
    ),
    Recipe(
        name="stew",
        title="STEW: low against high workload, Emotiv EPOC",
        access=(
            "IEEE DataPort, 'STEW: Simultaneous Task EEG Workload Dataset', open "
            "access with a free account; see there for the licence."
        ),
        layout="sub01_lo.txt, sub01_hi.txt to sub48_hi.txt and ratings.txt",
        protocol=(
            f"{_EMOTIV_PROTOCOL} High is a rating above 4; recordings without a rating "
            "are left out, though the published number of windows counts them."
        ),
        n_subjects=48,
        classes=("high", "low"),
        window_seconds=2.0,
        stride_seconds=0.5,
        band=_BAND,
        montage=_EMOTIV,
        read=read_stew,
    ),
    _emotiv(
        "driver_distraction",
        "DriverDistraction: distracted or not, Emotiv EPOC",
        _OWN_SET,
        17,
        ("distracted", "not_distracted"),
    ),
    _emotiv(
        "attention",
        "Attention: attentive or not, Emotiv EPOC",
        _OWN_SET,
        27,
        ("attentive", "inattentive"),
    ),
    _emotiv(
        "alpha",
        "Alpha: eyes open against closed, Emotiv EPOC",
        _OWN_SET,
        59,
        ("eyes_closed", "eyes_open"),
    ),
    Recipe(
        name="dreamer",
        title="DREAMER: low against high valence of films, Emotiv EPOC",
        access=(
            "zenodo.org/records/546113, on request, for research; its licence is in "
            "the file."
        ),
        layout="DREAMER.mat",
        protocol=(
            "Published: that the set was used, 14 channels, windows of 256 samples. "
            "Ours: valence above 3 of 5, the pass band, a window each 2 s, the split."
        ),
        n_subjects=23,
        classes=("high", "low"),
        window_seconds=2.0,
        stride_seconds=2.0,
        band=_BAND,
        montage=_EMOTIV,
        read=read_dreamer,
    ),
    _competition_p300(averaged=True),
    _competition_p300(averaged=False),
    Recipe(
        name="p300_bnci2014_009",
        title="BNCI2014_009: P300 speller through MOABB, single intensifications",
        access="MOABB downloads it (CC BY-NC-ND); public, no registration.",
        layout="MOABB's own folders; without data_path where MOABB keeps its data",
        protocol=(
            "Not of the paper: a public P300 set beside the competitions'. 1 s from "
            "each intensification, pass band 0.5 to 24 Hz, 128 Hz, the split is ours."
        ),
        n_subjects=10,
        classes=("NonTarget", "Target"),
        window_seconds=1.0,
        stride_seconds=None,
        band=(0.5, 24.0),
        montage=None,
        read=partial(read_p300, "BNCI2014_009"),
    ),
)
_BY_NAME = {recipe.name: recipe for recipe in _RECIPES}


def list_recipes() -> tuple[str, ...]:
    """Name all recipes.

    Returns
    -------
    tuple of str
        For `get_recipe`.
    """
    return tuple(_BY_NAME)


def get_recipe(name: str) -> Recipe:
    """Give a recipe.

    Parameters
    ----------
    name : str
        One of `list_recipes`.

    Returns
    -------
    Recipe
        The recipe.

    Raises
    ------
    KeyError
        If there is none of this name.

    Examples
    --------
    >>> recipe = get_recipe("tuab_100s")
    >>> recipe.n_times, recipe.ch_names[0]
    (12800, 'Fp1-F7')
    """
    if name not in _BY_NAME:
        raise KeyError(f"no recipe {name!r}: known are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def describe_recipes() -> str:
    """Describe all recipes in plain text: a table, then how to get each data set.

    Returns
    -------
    str
        To be printed.
    """
    lines = [f"{'recipe':<20}{'subjects':>9}{'channels':>10}{'seconds':>9}  classes"]
    for recipe in _RECIPES:
        channels = "files'" if recipe.montage is None else len(recipe.ch_names)
        lines.append(
            f"{recipe.name:<20}{recipe.n_subjects:>9}{channels:>10}"
            f"{recipe.window_seconds:>9g}  {', '.join(recipe.classes)}"
        )
    for recipe in _RECIPES:
        n_published = published_scores(recipe.name)["method"].nunique()
        lines += [
            "",
            f"{recipe.name}: {recipe.title}",
            f"  data      {recipe.access}",
            f"  files     {recipe.layout}",
            f"  protocol  {recipe.protocol}",
            f"  published methods to compare with: {n_published}",
        ]
    return "\n".join(lines)
