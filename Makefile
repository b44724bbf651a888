# Every target sets up what it needs in $(VENV); `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
ARGS ?= --config=mf_pmd --env-config=a_sis with seed=1 use_cuda=False local_results_path=results
BENCH_ARGS ?=
PYTEST_ARGS ?=
WORKERS ?= auto

PYTEST := $(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow lint bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install the package in it, editable, with the tested versions

$(STAMP): setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,tensorboard]'
	touch $@

run: $(STAMP) ## train mf_pmd on a_sis with 1000 agents; other words: make run ARGS='...'
	$(BIN)/python src/main.py $(ARGS)

test: $(STAMP) ## the fast tests, one process a core; WORKERS=0 for one process in all
	$(PYTEST) $(PYTEST_ARGS)

test-slow: $(STAMP) ## the slow tests: learning to a threshold, whole runs
	$(PYTEST) -m slow $(PYTEST_ARGS)

lint: $(STAMP) ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP) ## the benchmarks; their words: make bench BENCH_ARGS='...'
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

clean: ## remove .venv, caches and build leftovers; results stay
	rm -rf $(VENV) build dist src/*.egg-info *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
