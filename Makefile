# make app     environment, operator, then the page at http://127.0.0.1:7860
# make test    the same environment with the development tools, then the tests
# make soak    puts hundreds of damaged and hostile files through every program (make test takes an eighth of them),
#              then many clients to the service
# make lint    ruff, mypy and clang-format, changing nothing;  make format  rewrites the files
# make bench   times the operator
# make cuda    compiles the CUDA kernels for every architecture of CUDA_ARCHS (needs nvcc, no GPU)
# make wheel   a wheel with the operator compiled, into dist/; with CUDA_ARCHS on the command line for GPUs too
# make asan    runs the CUDA kernels on the CPU under AddressSanitizer
# make clean   removes what was built;  make distclean  the environment too
#
# Settings: make app PYTHON=python3.12 ; make test ARGS="-k masks" ; make app ARGS="--help"
# pip reads its index, cache and proxy settings from your own pip configuration.

PYTHON ?= python3
ARGS ?=
# From Turing on, and PTX from which drivers make code for what comes later.
CUDA_ARCHS ?= 7.5 8.0 8.6 8.9 9.0 10.0 12.0+PTX

VENV := .venv
BIN := $(VENV)/bin
# Stamps: an environment is installed again only when what it is made from has changed.
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
OPERATOR := $(VENV)/.operator-built

CXX_SOURCES = $(shell find csrc tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
PYTHON_SOURCES = $(wildcard *.py) benchmarks data inpaint tests

.PHONY: app test soak lint format bench cuda wheel asan clean distclean
.NOTPARALLEL: # two pips at work in one environment would break it

app: $(RUNTIME) $(OPERATOR)
	$(BIN)/python app.py $(ARGS)

test: $(DEVELOPMENT) $(OPERATOR)
	$(BIN)/python -m pytest $(ARGS)

soak: $(DEVELOPMENT) $(OPERATOR)
	$(BIN)/python tests/hostile/soak.py $(ARGS)
	$(BIN)/python tests/serving/load.py

lint: $(DEVELOPMENT)
	$(BIN)/ruff check $(PYTHON_SOURCES)
	$(BIN)/ruff format --check $(PYTHON_SOURCES)
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CXX_SOURCES)

format: $(DEVELOPMENT)
	$(BIN)/ruff check --fix $(PYTHON_SOURCES)
	$(BIN)/ruff format $(PYTHON_SOURCES)
	$(BIN)/clang-format -i $(CXX_SOURCES)

bench: $(RUNTIME) $(OPERATOR)
	$(BIN)/python benchmarks/carafe.py $(ARGS)

cuda: $(RUNTIME)
	INPAINT_OPS=reference TORCH_CUDA_ARCH_LIST="$(CUDA_ARCHS)" \
	$(BIN)/python -W ignore::RuntimeWarning -m inpaint.ops.library cuda

# Built with the environment's own torch, whose stable ABI the libraries keep to.
wheel: $(DEVELOPMENT)
	rm -rf build # what setuptools finds there, it packs
	INPAINT_WHEEL_LIBRARIES=1 \
	TORCH_CUDA_ARCH_LIST="$(if $(filter command line,$(origin CUDA_ARCHS)),$(CUDA_ARCHS))" \
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .
	rm -rf build

# The interpreter is not built with AddressSanitizer, so its run-time library has to be there first, and the one of
# C++ exceptions with it. A context that is left for good looks like a leak.
asan: $(DEVELOPMENT) $(OPERATOR)
	LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 \
	INPAINT_EMULATOR_FLAGS="-O1 -g -fsanitize=address -fno-omit-frame-pointer" \
	$(BIN)/python -m pytest tests/ops -k emulated $(ARGS)

# Compiles the operator and says what is in use. The stamp only keeps it from being said again: a library that
# is missing or out of date is built when an operator is first called.
$(OPERATOR): $(RUNTIME) $(CXX_SOURCES)
	@$(BIN)/python -W ignore::RuntimeWarning -m inpaint.ops.library
	@touch $@

$(RUNTIME): pyproject.toml | $(BIN)/pip
	@echo "Installing into $(VENV). The first time, PyTorch is a large download (several GB on Linux)."
	$(BIN)/python -m pip install --editable '.[all]'
	@touch $@

# One pip run installs both kinds of dependency, so a fresh `make test` does not install twice.
$(DEVELOPMENT): pyproject.toml | $(BIN)/pip
	@echo "Installing into $(VENV). The first time, PyTorch is a large download (several GB on Linux)."
	$(BIN)/python -m pip install --editable '.[all,dev]'
	@touch $(RUNTIME) $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; name one with: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -path './$(VENV)' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
