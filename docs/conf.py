"""How `make docs` builds the documentation: pages whose code runs while they are built, and the API from docstrings.

What a page's code has printed and drawn is kept in `build/docs-cache`, and not run again before that code, or any of
Recurra's, has changed. With RECURRA_DOCS=quick in the environment the comparisons of kinds are of a size that shows no
more than that they run.
"""

import hashlib
import logging
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs.commands import page  # noqa: E402  (found from the root)

project = "Recurra"
author = "Recurra's authors"
copyright = author  # noqa: A001  (Sphinx's name)

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
default_role = "code"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_title = "Recurra"
html_show_sphinx = False
html_show_copyright = False
copybutton_exclude = ".linenos, .gp, .go"  # of a session only what was typed
copybutton_selector = ":not(.output) > div.highlight pre"  # not what was printed

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3


def _sources() -> str:
    """What the outputs of all pages depend on besides their own code, in few letters."""
    folders = ("src", "native/include", "native/src", "benchmarks")
    files = sorted(f for folder in folders for f in (ROOT / folder).rglob("*") if f.suffix in (".py", ".hpp", ".cpp"))
    content = hashlib.sha256(os.environ.get("RECURRA_DOCS", "").encode())
    for file in [*files, ROOT / "constraints.txt", ROOT / "docs" / "matplotlibrc"]:
        content.update(file.read_bytes())
    return content.hexdigest()[:12]


nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "docs-cache" / _sources())
nb_execution_in_temp = True  # pages write files
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True
nb_output_stderr = "warn"  # and a warning is an error
nb_render_markdown_format = "gfm"
logging.getLogger("traitlets").setLevel(logging.WARNING)  # it says when each page begins to run
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of bars in notebooks, which no page has
os.environ["MATPLOTLIBRC"] = str(ROOT / "docs")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # for `benchmarks`

# The page of the command line, which is written anew where the commands have changed.
_commands = ROOT / "docs" / "reference" / "commands.md"
if not _commands.exists() or _commands.read_text() != page():
    _commands.write_text(page())

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
