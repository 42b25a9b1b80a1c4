"""What is told in several places is the same everywhere: versions, limits, names.

README, site, cards, citation and the package's own settings are read as they are.
"""

import ast
import importlib
import inspect
import json
import re
import tomllib
from pathlib import Path

import pytest

import braindecode_samba
from braindecode_samba.checkpoints.files import shipped_checkpoints
from braindecode_samba.nn import Readings, WindowMeasures
from braindecode_samba.signals import available_montages, target_positions

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.rst"), *DOCS.glob("*/*.rst"), *DOCS.glob("*/*.md")])
PAGES = [page for page in PAGES if "generated" not in page.parts]
PAGES = [page for page in PAGES if "auto_examples" not in page.parts]
AUTHORS = "The braindecode-samba developers"


def read(path):
    return (ROOT / path).read_text("utf-8")


def test_the_version_is_the_same_everywhere():
    version = braindecode_samba.__version__
    assert f"\nversion: {version}\n" in read("CITATION.cff")
    assert f"version = {{{version}}}" in read("README.md")
    assert re.search(
        rf"^## \[(Unreleased|{re.escape(version)})\]", read("CHANGELOG.md"), re.M
    )
    for folder in shipped_checkpoints().values():
        made_with = re.search(
            r"braindecode-samba ([\d.]+), torch", read(folder / "README.md")
        )
        assert tuple(map(int, made_with[1].split("."))) <= tuple(
            map(int, version.split("."))
        )


def test_authors_are_the_same_everywhere():
    assert PROJECT["authors"] == [{"name": AUTHORS}]
    assert f'- name: "{AUTHORS}"' in read("CITATION.cff")
    assert f"author = {{{{{AUTHORS}}}}}" in read("README.md")
    assert f'author = "{AUTHORS}"' in read("docs/conf.py")
    assert PROJECT["license"] == "BSD-3-Clause"
    for page in ("README.md", "CONTRIBUTING.md", "CITATION.cff"):
        assert "BSD-3-Clause" in read(page)


def test_versions_of_python_are_those_of_the_package():
    low, high = re.fullmatch(
        r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]
    ).groups()
    told = f"Python 3.{low} to 3.{int(high) - 1}"
    assert told in read("README.md")
    known = {
        name.rsplit(" ", 1)[1]
        for name in PROJECT["classifiers"]
        if "Python :: " in name
    }
    assert known == {f"3.{minor}" for minor in range(int(low), int(high))}
    for page in PAGES:
        assert not re.search(r"Python 3\.\d+ to", page.read_text("utf-8")), page


def test_extras_that_are_named_exist():
    extras = PROJECT["optional-dependencies"]
    package = [path for path in (ROOT / "braindecode_samba").rglob("*.py")]
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES, *package]
    named = {
        extra
        for path in texts
        for group in re.findall(
            r'(?:\."?|braindecode-samba)\[([a-z,]+)\]', path.read_text("utf-8")
        )
        for extra in group.split(",")
    }
    assert named <= set(extras)
    install = read("README.md").partition("## Install")[2].partition("\n## ")[0]
    told = set(re.findall(r"`([a-z]+)`\s+for", install))
    assert told == {"moabb", "lsl", "docs", "mamba", "test"} <= set(extras)


def test_limits_are_told_once():
    limits = read("README.md").partition("## Limits")[2].partition("\n## ")[0]
    lines = [line.removeprefix("- ") for line in limits.strip().splitlines()]
    assert len(lines) >= 4
    page = read("docs/project/limits.md")
    assert "README.md" in page
    assert not [line for line in lines if line in page]
    assert "no medical device" in limits
    for folder in shipped_checkpoints().values():
        assert "Not a medical device" in read(folder / "README.md")


# fitted decoders are the matter of test_decoders.py
PRETRAINED = sorted(
    name
    for name, folder in shipped_checkpoints().items()
    if (folder / "pretrain.json").exists()
)


@pytest.mark.parametrize("name", PRETRAINED)
def test_cards_say_what_configs_say(name):
    folder = shipped_checkpoints()[name]
    card = read(folder / "README.md")
    config = json.loads(read(folder / "config.json"))
    run = json.loads(read(folder / "pretrain.json"))
    seconds = f"{run['windows']['window_seconds']:g} s"
    assert f"Rate of the model: {config['model_sfreq']:g} Hz" in card
    assert f"- Windows of {seconds}, one every" in card
    guide = " ".join(read("docs/guide/checkpoints.rst").split())
    assert re.search(rf"``{name}`` was pretrained on windows of {seconds}", guide)
    assert name in read("README.md")


def test_the_guide_lists_the_readings_of_the_head():
    places = target_positions()
    import torch

    measures = WindowMeasures(torch.tensor(places, dtype=torch.float32), 128.0)
    head = Readings(torch.tensor(places, dtype=torch.float32), measures, 2, 1)
    table = read("docs/guide/heads.rst").split("====  ")[2]
    rows = re.findall(r"^([a-z]+(?: [a-z]+)*?)  +\S", table, re.MULTILINE)
    assert rows == list(head.blocks)


def code_blocks():
    """Blocks of Python on the pages, with where they stand."""
    for page in PAGES:
        text = page.read_text("utf-8")
        found = re.findall(
            r"^( *)\.\. code-block:: python\n\n((?:\1   .*\n|\n)+)", text, re.M
        )
        for number, (_, code) in enumerate(found):
            yield pytest.param(inspect.cleandoc(code), id=f"{page.stem}-{number}")


@pytest.mark.parametrize("code", code_blocks())
def test_code_on_pages_uses_what_is_there(code):
    tree = ast.parse(code)
    ours = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            for alias in node.names:
                ours[alias.name] = getattr(module, alias.name)
    ours = {"SAMBAClassifier": braindecode_samba.SAMBAClassifier} | ours
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = ours.get(node.func.id)
            if called is not None and called.__module__.startswith("braindecode_samba"):
                keywords = {word.arg for word in node.keywords}
                parameters = inspect.signature(called).parameters
                if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                    assert keywords <= set(parameters), node.func.id
        if isinstance(node, ast.keyword) and node.arg == "montages":
            named = [
                one.value for one in node.value.elts if isinstance(one, ast.Constant)
            ]
            assert set(named) <= set(available_montages())
