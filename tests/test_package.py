"""The package as users get it: a wheel, built as pip builds it, in an environment with the core dependencies alone.

The native module is taken from the folder in which `make setup` has built it, so nothing is compiled again: the same
ninja finds all objects up to date. The wheel is built by the interpreter below the virtual environment, which finds the
requirements of the build where pip's isolated builds have them, in PYTHONPATH. No network is needed: what the wheel
depends on is lent by the running environment.
"""

from __future__ import annotations

import ast
import os
import re
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import recurra
from helpers import generator
from recurra import Weights, cells, runtime

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CORE = {"numpy", "safetensors", "typer", "rich"}


def build(what: str, out: Path) -> Path:
    """Build as an isolated build does: with an interpreter whose only packages are those in PYTHONPATH."""
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    code = f"import scikit_build_core.build as b; print(b.build_{what}({str(out)!r}))"
    python = Path(sys.base_prefix, Path(sys.executable).relative_to(sys.prefix))
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # with the ninja of `make setup`
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(packages), "PYTHONNOUSERSITE": "1", "PATH": path}
    done = subprocess.run([python, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with FileLock(ROOT / "build" / "wheel.lock"):  # another worker may want it too
        return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the wheel and what it requires."""
    place = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(place, symlinks=os.name != "nt")
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    packages = Path(next(p for p in site.getsitepackages([str(place)]) if p.endswith("site-packages")))
    lent: set[str] = set()
    for name in CORE:
        lend(name, packages, lent)
    pip = [sys.executable, "-m", "pip", "-q", "--python", str(programs / "python"), "install", "--no-index", str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return programs


def lend(name: str, packages: Path, lent: set[str]) -> None:
    """Link a distribution and what it requires into another environment."""
    found = distribution(name)
    if canonicalize_name(name) in lent:
        return
    lent.add(canonicalize_name(name))
    for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
        (packages / top).symlink_to(Path(str(found.locate_file(top))))
    for text in found.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            lend(requirement.name, packages, lent)


def run(programs: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([programs / words[0], *words[1:]], cwd=cwd, capture_output=True, text=True, timeout=120)


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        said = message_from_bytes(archive.read(next(n for n in names if n.endswith("/METADATA"))))
    assert (said["Name"], said["Version"]) == ("recurra", recurra.__version__)
    assert (said["License-Expression"], said["Author"]) == ("Apache-2.0", "Recurra's authors")
    required = [Requirement(text) for text in said.get_all("Requires-Dist")]
    assert {r.name for r in required if r.marker is None} == CORE
    assert {"recurra/py.typed", "recurra/_native.pyi", "recurra/report/templates/page.html"} <= set(names)
    assert {n.partition("/")[0] for n in names} == {"recurra", f"recurra-{recurra.__version__}.dist-info"}
    abi = "cp312-abi3" if sys.version_info >= (3, 12) else "cp311-cp311"
    assert wheel.name.startswith(f"recurra-{recurra.__version__}-{abi}-")


LIVE = """
import sys
import numpy as np
import recurra
model = recurra.load("model.recurra")
session = model.session()
x = np.load("x.npy")
steps = np.array([session.step(row) for row in x])
many = model.step_many([model.session(), model.session()], np.ascontiguousarray(x[:2]))
np.save("y.npy", np.concatenate([steps, many]))
print(recurra.__file__)
print(*sorted({"torch", "sympy", "pandas", "keras", "onnx", "matplotlib"} & set(sys.modules)))
"""


def test_a_live_step_of_the_wheel_has_the_bits(clean: Path, tmp_path: Path) -> None:
    rng = generator("wheel")
    weights = Weights.random(cells.lstm, 3, 8, rng=rng)
    linear = runtime.Linear(rng.normal(size=(2, 8)).astype(np.float32))
    model = runtime.Model([runtime.Recurrent(cells.lstm, [weights]), linear])
    recurra.save_model(model, tmp_path / "model.recurra")
    x = rng.normal(size=(9, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    done = run(clean, "python", "-c", LIVE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    where, heavy = done.stdout.split("\n")[:2]
    assert Path(where).is_relative_to(clean.parent)
    assert heavy == ""
    session = model.session()
    steps = [session.step(row) for row in x]
    first = model.step_many([model.session(), model.session()], x[:2])
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), np.concatenate([steps, first]))


def test_the_command_line_of_the_wheel(clean: Path, tmp_path: Path) -> None:
    assert run(clean, "recurra", "--version", cwd=tmp_path).stdout == f"recurra {recurra.__version__}\n"
    said = run(clean, "recurra", "--help", cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    assert "stream" in said.stdout
    table = tmp_path / "table.csv"
    table.write_text("time,y\n" + "".join(f"2026-01-{day:02d},{day % 7}\n" for day in range(1, 31)))
    for report, extra in (((), "train"), (("--report", "page.html"), "draw")):
        said = run(
            clean, "recurra", "fit", "forecast", "table.csv", "--target", "y", "--horizon", "2", *report, cwd=tmp_path
        )
        assert said.returncode == 2
        assert said.stderr.strip().endswith(f"which is not installed: pip install 'recurra[{extra}]'")
        assert said.stderr.count("\n") == 1


# What each part of the package says where its extra is not installed: a statement, and the extra.
MISSING = {
    "import recurra.torch": "train",
    "import recurra.torch.layers": "train",
    "recurra.torch": "train",
    "recurra.doctor": "train",
    "recurra.keras": "keras",
    "recurra.onnx": "onnx",
    "recurra.compare(table, target='y', horizon=2)": "compare",
    "recurra.Forecaster(horizon=2).fit(table, target='y')": "train",
    "recurra.Classifier().fit(X, ['a', 'b'] * 4)": "train",
    "recurra.Regressor().fit(X, list(range(8)))": "train",
    "recurra.draw.network('lstm').svg()": "draw",
    "recurra.draw.cell('lstm').svg()": "draw",
    "recurra.draw.states((cells.gru, weights), X[0]).svg()": "draw",
    "engine.forward(own, own_weights, x)": "cells",
    "recurra.convert('model.keras', 'out.recurra')": "keras",
    "recurra.convert('model.onnx', 'out.recurra')": "onnx",
    "read_table('table.parquet')": "data",
    "forecast.run_demo()": "train,data,draw",
    "days.run_days_demo('classify')": "train,data,draw",
}
SAY = f"""
import numpy as np
import recurra
from recurra import cells, engine, errors
from recurra.demos import days, forecast
from recurra.data.readers import read_table
rng = np.random.default_rng(0)
table = {{"y": np.arange(40.0)}}
X = [rng.normal(size=(5, 2)) for _ in range(8)]
weights = recurra.Weights.random(cells.gru, 2, 4, rng=rng)
@recurra.cell
def own(x, h):
    return cells.tanh(x.a + h.a) * 0.5
own_weights = recurra.Weights.random(own, 2, 4, rng=rng)
x = np.ones((3, 1, 2), np.float32)
for name in ("model.keras", "model.onnx", "table.parquet"):
    open(name, "w").write("PAR1")
for statement in {list(MISSING)}:
    try:
        exec(statement)
    except errors.MissingExtraError as error:
        print(str(error).replace("\\n", "|"))
    except Exception as error:
        print(type(error).__name__, str(error).replace("\\n", "|"))
    else:
        print("nothing")
"""


def test_a_missing_extra_is_named_with_the_pip_line(clean: Path, tmp_path: Path) -> None:
    environment = os.environ | {"RECURRA_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [clean / "python", "-c", SAY], cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    said = dict(zip(MISSING, done.stdout.splitlines(), strict=True))
    wrong = {s: line for s, line in said.items() if not line.endswith(f": pip install 'recurra[{MISSING[s]}]'")}
    assert not wrong


def required(extra: str) -> set[str]:
    """The packages of an extra, and of those that it names."""
    found: set[str] = set()
    for text in PROJECT["project"]["optional-dependencies"][extra]:
        requirement = Requirement(text)
        own = requirement.name == "recurra"
        found |= {p for e in requirement.extras for p in required(e)} if own else {canonicalize_name(requirement.name)}
    return found


def test_what_is_said_to_install_brings_what_is_missing() -> None:
    modules = {"sklearn": "scikit-learn", "Ray Tune": "ray", "PyTorch": "torch", "PIL": "pillow"}
    calls = 0
    for path in sorted((ROOT / "src").rglob("*.py")):
        for n in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(n, ast.Call) and isinstance(n.func, ast.Name)):
                continue
            if n.func.id == "need":
                names = [a.value for a in n.args[1:] if isinstance(a, ast.Constant)]
                (extra,) = (k.value.value for k in n.keywords if isinstance(k.value, ast.Constant))
            elif n.func.id == "MissingExtraError" and isinstance(n.args[2], ast.Constant):
                names = [n.args[1].value] if isinstance(n.args[1], ast.Constant) else []
                extra = n.args[2].value
            else:
                continue
            calls += 1
            wanted = {canonicalize_name(modules.get(name, name)) for name in names}
            assert wanted <= {p for e in extra.split(",") for p in required(e)}, f"{path}, line {n.lineno}"
    assert calls > 15


def test_the_source_distribution_has_all_that_a_build_takes(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = [p for folder in ("src", "native") for p in (ROOT / folder).rglob("*") if p.is_file()]
    wanted = {str(p.relative_to(ROOT)) for p in folders if p.suffix not in (".pyc", ".so")}
    assert wanted | {"CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    assert not {name for name in names if name.startswith((".venv", "build", "shared"))}


def test_the_version_is_the_same_everywhere() -> None:
    newest = re.findall(r"^## (\d\S+) - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    citation = (ROOT / "CITATION.cff").read_text()
    assert newest == (recurra.__version__, re.findall(r'^date-released: "(.*)"$', citation, re.MULTILINE)[0])
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [recurra.__version__]
