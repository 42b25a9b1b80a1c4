"""The paper's data sets: how each is read, cut, split by subject and scored.

`list_recipes` names them, `get_recipe` gives one, and `run_recipe` fits an estimator on
some subjects and puts its scores on others beside the published ones.  Data are never
shipped; a recipe says how to get them.
"""

from braindecode_samba.evaluation.recipes.recipe import LabelledWindows, Recipe
from braindecode_samba.evaluation.recipes.registry import (
    describe_recipes,
    get_recipe,
    list_recipes,
)
from braindecode_samba.evaluation.recipes.runs import run_recipe, split_by_subject
from braindecode_samba.evaluation.recipes.scores import published_scores

__all__ = [
    "LabelledWindows",
    "Recipe",
    "describe_recipes",
    "get_recipe",
    "list_recipes",
    "published_scores",
    "run_recipe",
    "split_by_subject",
]
