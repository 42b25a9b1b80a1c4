"""The documentation: it builds without a warning, and it names all that is public."""

import importlib
import importlib.util
import pkgutil
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
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
    pages = [page for page in REFERENCE.glob("*.rst") if page.stem != "index"]
    for line in (line for page in pages for line in page.read_text().splitlines()):
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
    assert not missing, f"add to docs/reference: {missing}"


def test_no_object_has_two_pages():
    objects = documented()
    assert len({id(value) for value in objects.values()}) == len(objects)


def test_names_in_docstrings_exist():
    """What is set in single backticks and has our name is something that is there."""
    spoken = {
        name
        for file in (ROOT / "braindecode_samba").rglob("*.py")
        for name in re.findall(
            r"`(braindecode_samba(?:\.\w+)+)`", file.read_text("utf-8")
        )
    }
    assert len(spoken) > 50
    for name in spoken:
        pkgutil.resolve_name(name)


def build(folder, *settings):
    """Build the documentation from copies; say whether it warned, and of what."""
    for package in (
        "sphinx",
        "myst_parser",
        "numpydoc",
        "sphinx_design",
        "sphinx_gallery",
        "pydata_sphinx_theme",
    ):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'{package} is missing: pip install "braindecode-samba[docs]"')
    # pages are generated beside their sources, which are not to be touched
    made = shutil.ignore_patterns(
        "_build", "auto_examples", "generated", "__pycache__", "*.safetensors"
    )
    for part in ("docs", "examples", "checkpoints"):
        shutil.copytree(ROOT / part, folder / part, ignore=made)
    for page in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / page, folder)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q"),
            *(*settings, "docs", "html"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the pages, without the outputs of the gallery."""
    return build(tmp_path_factory.mktemp("site"), "-D", "plot_gallery=0")


def test_documentation_builds_without_a_warning(site):
    assert (site / "generated" / "braindecode_samba.SAMBA.html").is_file()
    pages = {page.stem for page in (site / "auto_examples").glob("*.html")}
    assert {script.stem for script in (ROOT / "examples").glob("plot_*.py")} <= pages


class Links(HTMLParser):
    """Addresses that a page points at, and the anchors that it has."""

    def __init__(self, page):
        super().__init__()
        self.targets, self.anchors = set(), set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.add(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def test_links_inside_the_site_lead_somewhere(site):
    files = [file for file in site.rglob("*.html") if "_static" not in file.parts]
    pages = {page: Links(page) for page in files}
    lost = []
    for page, links in pages.items():
        for target in map(urlsplit, links.targets):
            if target.scheme or target.netloc:
                continue
            there = page
            if target.path:
                there = (page.parent / unquote(target.path)).resolve()
            anchors = pages[there].anchors if there in pages else {target.fragment}
            if not there.is_file() or target.fragment not in {"", *anchors}:
                lost.append(f"{page.relative_to(site)}: {target.geturl()}")
    assert len(pages) > 150
    assert not lost


def test_words_are_spelt_as_in_dictionaries():
    if importlib.util.find_spec("codespell_lib") is None:
        pytest.skip('codespell is missing: pip install "braindecode-samba[test]"')
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_gallery_runs(tmp_path):
    html = build(tmp_path)
    for script in (ROOT / "examples").glob("plot_*.py"):
        assert "sphx-glr-script-out" in (
            html / "auto_examples" / f"{script.stem}.html"
        ).read_text("utf-8"), script.stem
