# Ostrich: needs Python 3.11 or newer and make, nothing else.
#
#   make demo         crash-test the bundled network        make test     the test suite
#   make check        format, lint, types, tests            make format   put the code in shape
#   make bench        measure against other libraries       make clean    remove everything made here
#   make peers        the environment with other libraries  make test-peers  agreement with them
#   make pins         resolve both requirements files anew   make gallery  docs/gallery.md, anew
#   make goldens      the results that tests compare with   make fuzz     nonsense and damage, given to commands
#   make api          the public names, written down anew   make dist     wheel and sdist, tried in a clean place
#   make test-floor   the fast tests at the oldest torch     make test-cluster  a local Ray cluster
#   make schemas      docs/schemas: what run.json holds, anew
#   make docs         the site, docs/_build/html: tutorials run, links checked

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
UV_VERSION := 0.13.9
RAY_VERSION := 2.60.0
WORKERS ?= auto
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test test-floor test-cluster lint types check format bench peers test-peers gallery goldens schemas docs fuzz api dist pins clean

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

demo: .venv/.ready
	$(BIN)/ostrich demo

# One torch thread in each worker (tests/conftest.py); a file stays in one worker, for its fixtures. Long files
# come first (likewise).
# All tests; make test ARGS="-m 'not slow'" leaves out those that take more than about five seconds. What took
# so long is listed at the end: it is to be marked.
test: .venv/.ready
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder \
	    --durations 40 --durations-min 5 $(ARGS)

# The fast tests at the oldest torch that is promised, and the torchvision that belongs to it.
test-floor: .venv-floor/.ready
	.venv-floor/bin/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

# On a Ray cluster of two workers of this machine: .venv and, laid beside it, Ray.
test-cluster: .venv-cluster/.ready
	PYTHONPATH=.venv-cluster $(BIN)/python -m pytest -n 0 tests/runtime/test_ray.py tests/studies/test_cluster.py $(ARGS)

lint: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: .venv/.ready
	$(BIN)/mypy

check: lint types test

format: .venv/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

peers: .venv-peers/.ready

test-peers: .venv-peers/.ready
	.venv-peers/bin/python -m pytest -m peers tests/peers $(ARGS)

# For example: make bench ARGS="--rows pgd --rounds 3"
bench: .venv-peers/.ready
	.venv-peers/bin/python -m benchmarks.bench $(ARGS)

# Runs kept under runs/gallery are not run again.
gallery: .venv/.ready
	$(BIN)/python docs/gallery.py $(ARGS)

# After a change of results that is meant. For example: make goldens ARGS="pgd explain-gradcam"
goldens: .venv/.ready
	$(BIN)/python tests/helpers/goldens.py $(ARGS)

# After a change of the types of run.json, or of a check's answers.
schemas: .venv/.ready
	$(BIN)/python docs/schemas.py

# Without network; a warning is an error. What has not changed is not built again, and no tutorial is run again.
docs: .venv/.ready
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html
	$(BIN)/python docs/making/check.py docs/_build/html

# After a change of the public interface, or of what has a name, that is meant.
api: .venv/.ready
	$(BIN)/python tests/helpers/api.py

# Three minutes at most. Other cases: make fuzz ARGS="--seed 1"
fuzz: .venv/.ready
	$(BIN)/python tests/helpers/fuzz.py --seed 0 --count 300 $(ARGS)

# An environment is made again where its Python is gone, and brought up to date where the pins or
# the project's metadata are newer than it is. uv installs: plain pip can pair a torchvision with
# a torch build that it does not load.
define environment
	@test -n "$(PYTHON)" || { echo "Ostrich needs Python 3.11 or newer. Name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(1)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(1)
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python -r $(2)
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --no-deps -e .
	@touch $@
endef

# $(call runs,FOLDER): nothing where its Python starts, else a prerequisite that is never there.
runs = $(shell test -x $(1)/bin/python || echo again)
.PHONY: again

.venv/.ready: requirements.txt pyproject.toml $(call runs,.venv)
	$(call environment,.venv,requirements.txt)

.venv-peers/.ready: requirements-peers.txt pyproject.toml $(call runs,.venv-peers)
	$(call environment,.venv-peers,requirements-peers.txt)

.venv-cluster/.ready: .venv/.ready Makefile
	rm -rf .venv-cluster
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target .venv-cluster -c requirements.txt ray==$(RAY_VERSION)
	@touch $@

requirements-floor.tmp: requirements.txt Makefile
	sed -e 's/^torch==.*/torch==2.11.*/' -e 's/^torchvision==.*/torchvision==0.26.*/' -e '/^setuptools==/d' $< > $@

.venv-floor/.ready: requirements-floor.tmp pyproject.toml $(call runs,.venv-floor)
	$(call environment,.venv-floor,requirements-floor.tmp)

# Plain versions for every platform, no addresses. torch brings its own CUDA packages at the exact
# versions it was built with, so they are left out: a CPU build of torch then comes without them.
resolve = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-emit-index-url \
    --no-emit-find-links --custom-compile-command "make pins" pyproject.toml $(1) -o $(2) >/dev/null \
    && grep -v -E '^(nvidia-|cuda-|triton=)' $(2) > $(2).new && mv $(2).new $(2)

# Wheel and source distribution, looked through; the wheel tried in an environment of its own.
dist: .venv/.ready
	rm -rf dist
	$(BIN)/uv build --quiet --out-dir dist
	$(BIN)/python tests/helpers/dist.py dist

# Existing pins are kept where they still fit; delete a line, or the file, for newer versions.
# The peers take torch and torchvision from requirements.txt.
pins:
	@test -x $(BIN)/uv || { echo "make pins needs uv in .venv: make test first." >&2; exit 2; }
	$(call resolve,--extra toybox --extra zoo --extra faces --extra video --extra onnx --extra hf --extra imagenet --extra fidelity --extra docs --extra serve --extra dev,requirements.txt)
	grep -E '^(torch|torchvision)==' requirements.txt > requirements-torch.tmp
	$(call resolve,--extra peers --extra dev -c requirements-torch.tmp,requirements-peers.txt)
	rm requirements-torch.tmp

clean:
	rm -rf .venv .venv-peers .venv-floor .venv-cluster requirements-floor.tmp .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache .grimp_cache dist docs/_build docs/made
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
