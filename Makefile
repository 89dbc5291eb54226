# Needs Python 3.11 or later, git and make; everything else goes into .venv.
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
ARGS ?=

PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-hard lint bench docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## segment a bundled picture with the bundled model, offline
	@$(BIN)/vns-sam demo $(ARGS)

test: $(VENV)/.dev ## run the tests; more: make test ARGS='-m slow'
	@sh tests/chromium.sh
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(VENV)/.dev ## style, format, types and the dependency rule
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev ## time the bundled model on this machine
	@$(BIN)/vns-sam bench $(ARGS)

test-hard: $(VENV)/.dev ## thousands of damaged files, fifty kills of each command, full disks, mutants; hours
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m hard -rP tests/hard $(ARGS)
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/mutants.py

docs: $(VENV)/.runtime ## write the tables of README, cards and docs from results/
	@$(BIN)/python benchmarks/tables.py

clean: ## remove the environment, caches and outputs
	rm -rf $(VENV) build dist out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "error: expected Python 3.11 or later, found none" >&2; \
		echo "try: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml
	@echo "[1/1] $(VENV): vns-sam (once)"
	@$(PIP) -e .
	@touch $@

# torch comes first and alone: resolved together with the rest, pip may move it to another build.
$(VENV)/.torch: $(VENV)/.made
	@echo "[1/2] $(VENV): $(TORCH) with $(PYTHON) (a few minutes, once)"
	@$(PIP) '$(TORCH)'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	@echo "[2/2] $(VENV): vns-sam with the tools of its developers"
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.runtime
