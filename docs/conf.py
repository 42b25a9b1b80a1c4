"""How Sphinx builds the documentation: the API by numpydoc, the gallery from examples.

Build it from the top of the repository with ``sphinx-build -W docs docs/_build/html``;
``-D plot_gallery=0`` leaves out running the examples.
"""

import sys
from pathlib import Path

from braindecode_samba import __version__
from braindecode_samba.evaluation.recipes import describe_recipes

# the order of the gallery is a module of this folder
sys.path.insert(0, str(Path(__file__).parent))

project = "braindecode-samba"
author = "braindecode-samba developers"
project_copyright = author
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_design",  # badges in docstrings, as braindecode's models have them
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
# names in single backticks are links wherever there is a page for them
default_role = "py:obj"

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
}

html_theme = "pydata_sphinx_theme"
html_title = f"braindecode-samba {release}"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}


def write_recipes(app):
    """Write what the recipes say of themselves, for the page that shows it."""
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    (folder / "recipes.txt").write_text(describe_recipes())


def setup(app):
    """Have the texts of the package written before pages are read."""
    app.connect("builder-inited", write_recipes)
