"""How Sphinx builds the documentation: the API by numpydoc, the gallery from examples.

Build it from the top of the repository with ``sphinx-build -W docs docs/_build/html``;
``-n`` asks for every link, ``-D plot_gallery=0`` leaves out running the examples.
Nothing is asked of the network.
"""

import contextlib
import io
import re
import sys
import tomllib
import zlib
from pathlib import Path

from braindecode_samba import __version__
from braindecode_samba.cli import main
from braindecode_samba.evaluation.recipes import describe_recipes
from braindecode_samba.nn.scaling import MODEL_SFREQ, min_times
from braindecode_samba.signals import target_names
from braindecode_samba.signals.whitening import PRIOR_WINDOWS

HERE = Path(__file__).parent
MADE = HERE / "generated"
# the order of the gallery is a module of this folder
sys.path.insert(0, str(HERE))

project = "braindecode-samba"
author = "The braindecode-samba developers"
project_copyright = author
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",  # cards, changelog and parts of the README, which are Markdown
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
# names in single backticks are links wherever there is a page for them, and set apart
# where they are arguments
default_role = "autolink"

# numbers that the code decides and pages tell
rst_prolog = f"""
.. |rate| replace:: {MODEL_SFREQ:g} Hz
.. |shortest| replace:: {min_times(MODEL_SFREQ, MODEL_SFREQ)} samples
.. |prior| replace:: {PRIOR_WINDOWS:g}
.. |targets| replace:: {len(target_names())}
"""

autodoc_typehints = "none"
autosummary_generate = True
# classes list their methods by _templates/autosummary/class.rst
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    # also asked about bare file names
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",
    "within_subsection_order": "gallery_order.ReadingOrder",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    # pages of the reference show who uses what they describe
    "doc_module": ("braindecode_samba",),
    "backreferences_dir": "generated/used_by",
    "inspect_global_variables": False,
}

html_theme = "pydata_sphinx_theme"
html_title = project
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 8,
    "show_toc_level": 2,
    "navbar_persistent": ["search-button"],
}


def write_inventory(name, pages):
    """Write where other projects describe their names, as Sphinx reads it.

    Their own lists would have to be downloaded for every build.
    """
    lines = [
        f"{full} py:{kind} 1 {page.replace('$', full)} -\n"
        for full, (kind, page) in pages.items()
    ]
    head = f"# Sphinx inventory version 2\n# Project: {name}\n# Version:\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    path = MADE / f"{name}.inv"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))
    return str(path)


elsewhere = tomllib.loads((HERE / "elsewhere.toml").read_text("utf-8"))
intersphinx_mapping = {
    name: (other["address"], write_inventory(name, other["pages"]))
    for name, other in elsewhere.items()
}


def help_on(*words):
    """Give what a command says of itself."""
    with contextlib.redirect_stdout(io.StringIO()) as told:
        with contextlib.suppress(SystemExit):
            main([*words, "--help"])
    return told.getvalue()


def write_texts(app):
    """Write what the package says of itself, for the pages that show it."""
    commands = re.findall(r"^    (\w+)  ", help_on(), re.MULTILINE)
    told = [help_on(), *(help_on(command) for command in commands)]
    (MADE / "commands.txt").write_text("\n\n".join(told))
    (MADE / "recipes.txt").write_text(describe_recipes())


def find_anywhere(app, env, node, words):
    """Link what has its page under the name of a room, wherever it is spoken of."""
    if node.get("refdomain") != "py":
        return None
    node["refspecific"] = True
    where = (node["refdoc"], app.builder, node["reftype"], node["reftarget"])
    return env.domains["py"].resolve_xref(env, *where, node, words)


def setup(app):
    """Have the texts of the package written before pages are read."""
    app.connect("builder-inited", write_texts)
    app.connect("missing-reference", find_anywhere)
