"""Print what `make setup` installs: the build's requirements, the package's own, and those of its `dev` extra.

With the names of extras, print what those need.
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())
extras = project["project"]["optional-dependencies"]


def unfolded(requirement: str) -> list[str]:
    """A requirement, or those of the extras that it names of this very package."""
    own = re.fullmatch(r"recurra\[(.*)\]", requirement)
    return [r for e in own[1].split(",") for x in extras[e] for r in unfolded(x)] if own else [requirement]


everything = [*project["build-system"]["requires"], *project["project"]["dependencies"], *extras["dev"]]
wanted = [r for e in sys.argv[1:] for r in extras[e]] or everything
print("\n".join(f'"{r}"' for r in dict.fromkeys(x for w in wanted for x in unfolded(w))))
