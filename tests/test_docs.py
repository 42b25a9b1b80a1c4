"""The documentation: it builds without a warning, and it names all that is public."""

import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api.rst"
ROOMS = [
    "signals",
    "scan",
    "nn",
    "checkpoints",
    "estimators",
    "pretraining",
    "evaluation",
    "evaluation.recipes",
    "plots",
]
MODULES = ["braindecode_samba", *(f"braindecode_samba.{room}" for room in ROOMS)]


def documented():
    """Objects that have a page, by their full names."""
    module, objects = "", {}
    for line in API.read_text().splitlines():
        if match := re.fullmatch(r"\.\. currentmodule:: (\S+)", line):
            module = match[1]
        elif match := re.fullmatch(r"   ([A-Za-z]\w*)", line):
            name = f"{module}.{match[1]}"
            assert name not in objects, f"{name} is listed twice"
            objects[name] = getattr(importlib.import_module(module), match[1])
    return objects


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_page(module):
    members = importlib.import_module(module)
    known = {id(value) for value in documented().values()}
    missing = [
        name
        for name in members.__all__
        if name != "__version__" and id(getattr(members, name)) not in known
    ]
    assert not missing, f"add to docs/api.rst: {missing}"


def test_no_object_has_two_pages():
    objects = documented()
    assert len({id(value) for value in objects.values()}) == len(objects)


def test_documentation_builds_without_a_warning(tmp_path):
    for package in (
        "sphinx",
        "numpydoc",
        "sphinx_design",
        "sphinx_gallery",
        "pydata_sphinx_theme",
    ):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'{package} is missing: pip install "braindecode-samba[docs]"')
    # pages are generated beside their sources, which are not to be touched
    made = shutil.ignore_patterns("_build", "auto_examples", "generated", "__pycache__")
    for folder in ("docs", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=made)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"),
            *("-D", "plot_gallery=0", "docs", "html"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "html" / "generated" / "braindecode_samba.SAMBA.html").is_file()
    pages = {page.stem for page in (tmp_path / "html" / "auto_examples").glob("*.html")}
    assert {script.stem for script in (ROOT / "examples").glob("plot_*.py")} <= pages
