PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHARED ?= ../shared
NATIVE := CMakeLists.txt pyproject.toml $(wildcard native/include/recurra/*.hpp native/src/*.cpp native/src/*/*.cpp src/recurra/cells/*.py)

.PHONY: setup test demo bench check docs sanitize fuzz atheris aarch64 wheel clean

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
	$(BIN)/python -m pytest -n 2 --dist worksteal

demo: setup
	$(BIN)/recurra demo

bench: setup
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.torch_layers
	$(BIN)/python -m benchmarks.wide_layers
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

# What is built for tests, in build/NAME.
CONFIGURE = $(BIN)/cmake -S . -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
	-DRECURRA_PYTHON=OFF -DRECURRA_TESTS=ON

SANITIZED = $(CONFIGURE) -DCMAKE_BUILD_TYPE=Debug -DRECURRA_SANITIZE=ON

sanitize: setup
	$(SANITIZED) -B build/sanitize
	$(BIN)/cmake --build build/sanitize
	build/sanitize/native_tests
	build/sanitize/xla_tests

# Mutated inputs at every door, on a native module with sanitizers: a read out of bounds ends the process and names its place.
MINUTES ?= 5
fuzz: setup
	$(SANITIZED) -B build/fuzz -DRECURRA_PYTHON=ON -DRECURRA_TESTS=OFF -DRECURRA_ONLY_GENERIC=ON
	$(BIN)/cmake --build build/fuzz
	LD_PRELOAD="$(foreach library,asan ubsan stdc++,$(shell $(CXX) -print-file-name=lib$(library).so))" \
		ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -m benchmarks.fuzz --minutes $(MINUTES) --native build/fuzz

# Mutated model files, snapshots, journals and cells, guided by what of the native module they reach. On Debian: apt-get
# install clang.
atheris: setup
	$(BIN)/python scripts/requirements.py fuzz | xargs $(BIN)/python -m pip install -q -c constraints.txt
	$(SANITIZED) -B build/atheris -DRECURRA_PYTHON=ON -DRECURRA_TESTS=OFF -DRECURRA_ONLY_GENERIC=ON \
		-DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_FLAGS=-fsanitize=fuzzer-no-link
	$(BIN)/cmake --build build/atheris
	LD_PRELOAD="$$($(BIN)/python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so" \
		ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -m benchmarks.fuzz.guided --minutes $(MINUTES) --native build/atheris

# The generic kernels on a 64-bit ARM machine that QEMU plays: the native tests pass, and the bits are those of AVX2 here.
# On Debian: apt-get install g++-aarch64-linux-gnu qemu-user.
aarch64: setup
	$(CONFIGURE) -B build/native -DCMAKE_BUILD_TYPE=Release
	$(CONFIGURE) -B build/aarch64 -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
		-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++
	$(BIN)/cmake --build build/native --target native_tests
	$(BIN)/cmake --build build/aarch64
	build/native/native_tests bits avx2 > build/native/bits
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/aarch64/native_tests bits generic > build/aarch64/bits
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/aarch64/xla_tests
	test -s build/native/bits && diff build/native/bits build/aarch64/bits

# A wheel of this Python in dist/, which runs on all systems of this kind whose C library is not older (PEP 600). Those of
# all systems are described for cibuildwheel in pyproject.toml.
wheel: setup
	rm -rf build/wheel
	$(BIN)/python -m pip wheel -q . --no-build-isolation --no-deps -w build/wheel
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m auditwheel repair -w dist build/wheel/recurra-*.whl

clean:
	rm -rf build $(VENV)
