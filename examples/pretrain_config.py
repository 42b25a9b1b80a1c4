"""The config of `pretrain.py`: its defaults, how it is read, and whom it chooses.

What its parts mean is said there.
"""

import json
import re
from pathlib import Path

DEFAULTS = {
    "name": "SAMBA",
    "licence": "not stated",
    "seed": 0,
    "corpora": {},
    "windows": {},
    "mixing": "concat",
    "montages": {},
    "masking": {},
    "loss": {"norm": "ortho", "region": "masked"},
    "model": {},
    "one_cycle": {},
    "training": {
        "epochs": 10,
        "steps": None,
        "batch_size": 64,
        "lr": 1e-3,
        "mixed_precision": False,
    },
    "probe": None,
}
CORPUS = {
    "folder": ".",
    "files": ["**/*.edf", "**/*.bdf", "**/*.fif", "**/*.vhdr", "**/*.set"],
    "subject": "^[^/_.]+",
    "subjects": [".*"],
    "held_out": [],
    "title": None,
    "licence": "not stated",
    "attribution": None,
}
PROBE = {"corpus": None, "subjects": [".*"], "label": None, "every": 5}


def read_config(path, arguments):
    """Read a config, fill in what it leaves open, and let arguments win.

    Parameters
    ----------
    path : str or path-like
        The JSON file.
    arguments : mapping
        Of them, those that are settings of ``training``, and ``seed``; None leaves the
        config's.

    Returns
    -------
    dict
        Every setting of the run.
    """
    config = fill(json.loads(Path(path).read_text("utf-8")), DEFAULTS, "the config")
    config["training"] = fill(config["training"], DEFAULTS["training"], "training")
    if not config["corpora"]:
        raise SystemExit(f"{path} names no corpora: give it at least one")
    config["corpora"] = {
        name: fill(corpus, CORPUS, f"corpus {name}")
        for name, corpus in config["corpora"].items()
    }
    if config["probe"] is not None:
        config["probe"] = fill(config["probe"], PROBE, "probe")
        if config["probe"]["corpus"] not in config["corpora"]:
            raise SystemExit(
                f"the probe's corpus {config['probe']['corpus']!r} is none of "
                f"{', '.join(config['corpora'])}"
            )
    given = {name: value for name, value in arguments.items() if value is not None}
    if "epochs" in given:
        config["training"]["steps"] = None
    config["training"] |= {n: given[n] for n in DEFAULTS["training"] if n in given}
    config["seed"] = given.get("seed", config["seed"])
    return config


def fill(given, known, where):
    """Give settings with their defaults, and refuse what nobody knows."""
    if strangers := sorted(set(given) - set(known)):
        raise SystemExit(
            f"{where} has unknown settings {', '.join(strangers)}: known are "
            f"{', '.join(known)}"
        )
    return known | given


def is_chosen(subject, choices):
    """Tell whether a range, FIRST..LAST, or a regular expression names a subject."""
    return any(_names(choice, subject) for choice in choices)


def _names(choice, subject):
    bounds = re.fullmatch(r"(.*?)(\d+)\.\.(.*?)(\d+)", choice)
    if bounds is None:
        return re.fullmatch(choice, subject) is not None
    stem, low, same, high = bounds.groups()
    if stem != same:
        raise SystemExit(f"the range {choice} ends with another name than it begins")
    number = re.fullmatch(re.escape(stem) + r"(\d+)", subject)
    return number is not None and int(low) <= int(number[1]) <= int(high)
