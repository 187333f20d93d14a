PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHARED ?= ../shared
NATIVE := CMakeLists.txt pyproject.toml $(wildcard native/include/recurra/*.hpp native/src/*.cpp native/src/*/*.cpp src/recurra/cells/*.py)

.PHONY: setup test demo bench check docs sanitize clean

setup: $(VENV)/.built

# The tools and libraries, pinned; made again when the pins or the extras change.
$(VENV)/.tools: constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python scripts/requirements.py | xargs $(BIN)/python -m pip install -q -c constraints.txt
	touch $@

# The package itself, in place, with its native module; built again when equations or native sources change.
$(VENV)/.built: $(VENV)/.tools $(NATIVE)
	$(BIN)/python -m pip install -q --no-build-isolation --no-deps -e .
	touch $@

test: setup
	$(BIN)/python -m pytest -n 2

demo: setup
	$(BIN)/recurra demo

bench: setup
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.torch_layers
	$(BIN)/python -m benchmarks.runtime
	$(BIN)/python -m benchmarks.keras_layers

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation, whose code runs while it is built: comparisons of kinds for some ten minutes the first time, or
# none that says anything with RECURRA_DOCS=quick. A warning is an error.
docs: $(VENV)/.docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

$(VENV)/.docs: $(VENV)/.built
	$(BIN)/python scripts/requirements.py docs | xargs $(BIN)/python -m pip install -q -c constraints.txt
	touch $@

sanitize: setup
	$(BIN)/cmake -S . -B build/sanitize -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
		-DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -DCMAKE_BUILD_TYPE=Debug \
		-DRECURRA_PYTHON=OFF -DRECURRA_TESTS=ON -DRECURRA_SANITIZE=ON
	$(BIN)/cmake --build build/sanitize
	build/sanitize/native_tests
	build/sanitize/xla_tests

clean:
	rm -rf build $(VENV)
