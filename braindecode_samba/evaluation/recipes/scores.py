"""Published scores beside which a recipe's own are put.

They are in ``published_scores.csv``: shares of 1, with what each is and where it
stands.  SAMBA's own tables are not public in numbers; most are of its predecessor.
"""

from pathlib import Path

import pandas as pd

__all__ = ["published_scores"]


def published_scores(recipe: str | None = None) -> pd.DataFrame:
    """Give the published scores of a recipe, or of all.

    Parameters
    ----------
    recipe : str, optional
        Name of a recipe.

    Returns
    -------
    pandas.DataFrame
        ``recipe, method, metric, mean, std, source``: ``mean`` and ``std`` as shares of
        1, NaN where no deviation is published.  No rows if nothing is published.

    Notes
    -----
    Splits were not published with them, so that differences of several points mean
    nothing.

    Examples
    --------
    >>> table = published_scores("stew").set_index(["method", "metric"])["mean"]
    >>> float(table["EEGM2 (Fine)", "roc_auc"])
    0.7901
    """
    table = pd.read_csv(Path(__file__).with_name("published_scores.csv"))
    if recipe is None:
        return table
    return table[table["recipe"] == recipe].reset_index(drop=True)
