"""The recipes by name: ``recipes.toml`` as `Recipe`.

How files are read is in `files`, `p300_files`, `tuab` and `moabb_sets`.
"""

import functools
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from braindecode_samba.evaluation.recipes import files, moabb_sets, p300_files, tuab
from braindecode_samba.evaluation.recipes.recipe import LabelledWindows, Recipe
from braindecode_samba.evaluation.recipes.scores import published_scores

_READERS: dict[str, Callable[..., LabelledWindows]] = {
    read.__name__: read
    for read in (
        files.read_dreamer,
        files.read_listed_recordings,
        files.read_stew,
        moabb_sets.read_left_right,
        moabb_sets.read_p300,
        p300_files.read_competition_p300,
        tuab.read_tuab,
    )
}


@functools.cache
def _recipes() -> dict[str, Recipe]:
    tables = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text("utf-8"))
    kinds = tables["kinds"] | {None: {}}
    recipes = tables["recipes"].items()
    return {
        name: _recipe(name, kinds[own.pop("kind", None)] | own) for name, own in recipes
    }


def _recipe(name: str, settings: dict[str, Any]) -> Recipe:
    for key in ("classes", "band"):
        if key in settings:
            settings[key] = tuple(settings[key])
    reader, *told = settings.pop("reader")
    return Recipe(name, read=functools.partial(_READERS[reader], *told), **settings)


def list_recipes() -> tuple[str, ...]:
    """Name all recipes.

    Returns
    -------
    tuple of str
        For `get_recipe`.
    """
    return tuple(_recipes())


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
    if name not in (known := _recipes()):
        raise KeyError(f"no recipe {name!r}: known are {', '.join(known)}")
    return known[name]


def describe_recipes() -> str:
    """Describe all recipes in plain text: a table, then how to get each data set.

    Returns
    -------
    str
        To be printed.
    """
    lines = [f"{'recipe':<20}{'subjects':>9}{'channels':>10}{'seconds':>9}  classes"]
    for recipe in _recipes().values():
        channels = "files'" if recipe.montage is None else len(recipe.ch_names)
        lines.append(
            f"{recipe.name:<20}{recipe.n_subjects:>9}{channels:>10}"
            f"{recipe.window_seconds:>9g}  {', '.join(recipe.classes)}"
        )
    for recipe in _recipes().values():
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
