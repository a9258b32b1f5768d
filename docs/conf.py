"""Sphinx settings."""

import sys
from pathlib import Path

import septet

sys.path.insert(0, str(Path(__file__).parent))

project = "Septet"
author = "The Septet developers"
release = version = septet.__version__
project_copyright = "The Septet developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_figures"]
html_theme = "furo"
html_title = "Septet"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autoclass_content = "class"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
nitpicky = False


def skip_generated(app, what, name, obj, skip, options):  # noqa: ANN001, ANN201 - Sphinx's hook
    """Leave out the set_*_request methods, which scikit-learn generates and documents itself."""
    return skip or (name.startswith("set_") and name.endswith("_request"))


def setup(app):  # noqa: ANN001, ANN201 - Sphinx's hook
    """Draw the figures and write the pages of results before any page is read."""
    from figures import draw_all
    from pages import write_all

    here = Path(__file__).parent
    app.connect("builder-inited", lambda _: draw_all(here / "_figures"))
    app.connect("builder-inited", lambda _: write_all(here / "_pages"))
    app.connect("autodoc-skip-member", skip_generated)
