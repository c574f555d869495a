# Everything is installed into .venv, and runs go to runs/; nothing else needs to be there.
#
#   make quickstart          train an agent, move the coin, see which goal it learned
#   make help                all targets
#
# Variables: PYTHON (the interpreter that .venv is made from), JOBS (tests, or training runs,
# side by side), CUDA (cuda13, or cuda12 for an older driver), TRAIN_ARGS and EVAL_ARGS
# (appended to a quickstart's two commands).

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

JOBS ?= 2
RUN := runs/quickstart
CUDA ?= cuda13
TRAIN_ARGS ?=
EVAL_ARGS ?=

# The first of these that starts, is 3.11 to 3.13 and can create virtual environments. A name on
# PATH may be a launcher with no interpreter behind it, so each one is run, not just looked up.
PYTHON ?=
PYTHONS := $(if $(PYTHON),$(PYTHON),python3 python3.12 python3.11 python3.13 python)
SUITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.DEFAULT_GOAL := help
.PHONY: help install install-cuda quickstart quickstart-maze results gpu test test-docs test-fast test-thorough test-targets lint format constraints clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## .venv with every dependency pinned and checked by hash

# Pip cannot mix requirements with and without hashes (this folder has none), neither with -r nor
# with -c. So the pins are installed first, all with hashes, then this folder alone, built by the
# pinned setuptools. `python -m pip check` detects pins that do not satisfy pyproject.toml.
$(INSTALLED): pyproject.toml constraints.txt
	@if ! $(PY) -c 'import pip' 2>/dev/null; then \
	  for python in $(PYTHONS); do \
	    if $$python -c '$(SUITS)' >/dev/null 2>&1; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$${found:-}" ]; then \
	    echo 'error: none of these is Python 3.11, 3.12 or 3.13 with venv: $(PYTHONS)' \
	      '(install one, or name it: make install PYTHON=...)' >&2; exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$($$found --version)"; \
	  $$found -m venv --clear $(VENV); \
	fi
	@echo 'Installing the pinned packages into $(VENV): some minutes the first time'
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r constraints.txt
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(PY) -m pip check
	@touch $@

install-cuda: install ## add JAX's CUDA packages, in the version of the pinned jax
	@$(PY) -m pip install --disable-pip-version-check --no-build-isolation -e '.[$(CUDA)]'

quickstart-maze: RUN := runs/quickstart-maze
quickstart: CONFIG := configs/quickstart.yaml
quickstart-maze: CONFIG := configs/quickstart_maze.yaml
quickstart: install ## train from scratch, then evaluate with the coin moved
quickstart-maze: install ## the same in mazes whose exit is green, then with green elsewhere

quickstart quickstart-maze:
	@if [ -e $(RUN) ]; then \
	  kept=$(RUN)-$$(date +%Y%m%d-%H%M%S); mv $(RUN) $$kept; echo "The earlier run is now $$kept"; \
	fi
	@$(PY) -m train --config $(CONFIG) --run-dir $(RUN) $(TRAIN_ARGS)
	@$(PY) -m eval --run $(RUN) --suite relocation --out $(RUN)/eval $(EVAL_ARGS)

results: install ## train and evaluate what the study lacks (hours on two cores), draw its figures
	@$(PY) -m results.study.run --jobs $(JOBS)

gpu: install-cuda ## measure what only a GPU can show (results/gpu; the curves take hours)
	@$(PY) -m results.gpu.run

test: lint ## lint, then the tests
	@$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m 'not docs and not thorough and not targets'

test-docs: install ## run every code block of README.md and docs/, and the notebooks
	@$(PY) -m pytest -n $(JOBS) --dist loadfile --nbmake tests/test_readme.py notebooks

test-fast: install ## the tests that take seconds
	@$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m 'not slow and not docs and not thorough and not targets'

test-thorough: install ## for new backends or versions of JAX: compiled against op by op
	@$(PY) -m pytest -m thorough

# The compilers live in build/, not in .venv: jax would look for a GPU there. A .pth file adds .venv's
# packages. Where the compilers cannot be had, the tests say so and are skipped.
TARGETS := build/targets
test-targets: install ## compile for GPUs and TPUs that are not there (minutes; .venv stays as it is)
	@$(PY) -m venv $(TARGETS)
	@$(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	  "$$($(TARGETS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
	@jax=$$($(PY) -c 'import jax; print(jax.__version__)'); \
	  libtpu=$$($(PY) -c 'from importlib.metadata import requires; \
	    print(next(r.partition(";")[0] for r in requires("jax") if r.startswith("libtpu")))'); \
	  $(TARGETS)/bin/python -m pip install -q --disable-pip-version-check --no-deps "$$libtpu" \
	    jax-cuda12-plugin==$$jax jax-cuda12-pjrt==$$jax nvidia-cuda-nvcc-cu12 \
	    nvidia-nvjitlink-cu12 nvidia-cuda-nvrtc-cu12 || echo 'the compilers cannot be installed'
	@$(TARGETS)/bin/python -m pytest -m targets tests/test_compiled_targets.py

lint: install ## ruff and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: install ## fix what ruff can fix by itself
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

# uv resolves once for all Pythons and platforms; it lives in build/, not in .venv.
constraints: install ## renew constraints.txt from pyproject.toml, with the newest versions
	@$(PY) -m venv build/uv
	@build/uv/bin/python -m pip install -q --disable-pip-version-check uv
	@{ sed -n '/^#/!q;p' constraints.txt; \
	   build/uv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	     --extra dev --extra play --extra notebooks \
	     --generate-hashes --no-header --no-annotate; } > build/constraints.txt
	@mv build/constraints.txt constraints.txt

clean: ## remove generated files; .venv and runs/ stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .jax_cache
	find coinrun_jax train eval tests -name __pycache__ -type d -prune -exec rm -rf {} +
