"""How Sphinx makes the site: `make docs`, without network; a warning is an error."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]
os.environ.setdefault("TQDM_DISABLE", "1")

from making import pages  # noqa: E402 - the folder of this file comes first

from ostrich import __version__  # noqa: E402

project = "Ostrich"
author = "The Ostrich authors"
copyright = "The Ostrich authors, Apache-2.0"
release = version = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "making.answers",
    "making.docstrings",
    "making.formulas",
    "making.numbers",
    "making.sources",
    "making.studies",
]
exclude_patterns = [
    "_build",
    "making",
    "schemas",
    "tutorials",
    "studies/rows",
    "**.py",
    "made/**/*.ipynb",
    "**/sg_execution_times.rst",
]
nitpicky = False  # types of torch and of typing have no page here
suppress_warnings = [
    "config.cache",  # the settings of the gallery hold functions
    "ref.python",  # Generator, of attacks and of generators: a type in a signature needs no link
]

html_theme = "furo"
html_title = "Ostrich"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it is fetched, which a page opened from a file may not do
html_theme_options = {"navigation_with_keys": True}
templates_path: list[str] = []
pygments_style, pygments_dark_style = "friendly", "native"

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
autodoc_preserve_defaults = True

sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "made/tutorials",
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": ("_repr_html_", "__repr__"),
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "plot_gallery": "True",
    "min_reported_time": 0,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}

pages.write(HERE)
