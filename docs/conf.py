"""How `tox run -e docs` builds the documentation; every warning is an error."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # parser_reference

project = "eas_tw"
author = "The eas_tw authors"
copyright = author  # noqa: A001
version = release = installed_version("eas-tw")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "parser_reference",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "examples", "inventories"]
nitpicky = True
nitpick_ignore_regex = [
    # Types in annotations that are on no page of ours: aliases, internals.
    (
        r"py:class",
        r"Event|Function|GivenInstance|Frames|Identity|WatchedQueue|Watching|eas_tw\.net\.discovery\.DiscoveryStatus",
    ),
    (
        r"py:class",
        r"BalancerFactory|InstanceFilter|KeyOf",
    ),  # functions, which the text says
    # described with their adapters, in the how-to pages
    (r"py:class", r"eas_tw\.(aio|blocking)\.client\.PredictClient"),
    (r"py:class", r"PBRequest|PBResponse"),  # made by protobuf
    (r"py:class", r"TokenSource"),  # str | Callable[[], str], which the text says
]

# What others document. Their inventories are kept as the excerpts that we refer to,
# so that a build needs no network, and a name that is in none is a warning.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "inventories/python.txt"),
    "twisted": (
        "https://docs.twisted.org/en/stable/api/",
        "inventories/twisted.txt",
    ),
}
_FULL_NAMES = {
    # as our modules import them for their annotations
    "Buffer": "collections.abc.Buffer",
    "Deferred": "twisted.internet.defer.Deferred",
    "IAgent": "twisted.web.iweb.IAgent",
}


def setup(app):
    """Tell short names in full, before intersphinx looks for them."""
    app.connect("missing-reference", _tell_in_full, priority=400)


def _tell_in_full(_app, _env, node, _shown):
    node["reftarget"] = _FULL_NAMES.get(node["reftarget"], node["reftarget"])


myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_mock_imports = [
    "dask",
    "distributed",
    "httpx",
    "httpx2",
]  # only their base classes are needed
autodoc_typehints_description_target = "documented"

html_theme = "furo"
html_title = "eas_tw"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {"navigation_with_keys": True}

# What only adapters pass to `Stream`.
nitpick_ignore = [
    ("py:class", "ReadPiece"),
    ("py:class", "ResponseStream"),
    ("py:class", "Wait"),
    ("py:exc", "PredictException"),  # described in the how-to page
    ("py:exc", "TransportError"),  # of httpx2 and httpx
]
