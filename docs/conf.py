"""How the documentation is built: `tox run -e docs`, into docs/_build; every warning is an error."""

from importlib.metadata import version as installed_version

project = "eas_tw"
author = "The eas_tw authors"
copyright = author  # noqa: A001
version = release = installed_version("eas-tw")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "examples"]
nitpicky = True
nitpick_ignore_regex = [
    # Types named in annotations that belong to no page of ours: aliases, other packages, the insides of rooms.
    (r"py:.*", r"(zope|attr|attrs|pathlib|google|treq|numpy|np|twisted|typing_extensions|_typeshed|collections)\..*"),
    (r"py:.*", r"(Event|IAgent|IReactor\w*|Deferred|Buffer|GivenInstance|Self|optional|NDArray)(\..*)?"),
    (r"py:.*", r"eas_tw\.(net|policy|body|telemetry|target|config)\..*"),
    (r"py:.*", r"(float|int|str|bytes|bool|None) .*"),
    (r"py:.*", r"(PBRequest|PBResponse|PBFeature|TensorProto)"),  # made by protobuf
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

html_theme = "furo"
html_title = "eas_tw"
html_theme_options = {"navigation_with_keys": True}
