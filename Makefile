# `make demo` and `make test` are all that a fresh machine needs: Python 3.11+, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit volume bench faults soak fuzz reference pictures hooks format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## Generate a small export, deliver it to a local stand-in for Amplitude, twice, and verify it
	$(BIN)/python fixtures/demo.py

test: lint types unit ## Lint, types and the whole test suite

lint: $(VENV)/.dev ## Ruff, and the house plan of .importlinter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

unit: $(VENV)/.dev ## The tests alone
	$(BIN)/python -m pytest -n auto --dist loadgroup

volume: $(VENV)/.dev ## A million events, and memory against file size (EVENTS=1000000)
	$(BIN)/python -m pytest tests/volume -m heavy -s --timeout 3000

bench: $(VENV)/.dev ## Against what one would use instead, and each rule's cost; writes docs/benchmarks.md (EVENTS=500000 ROUNDS=3 ONLY=rules)
	EVENTS=$(or $(EVENTS),500000) ROUNDS=$(or $(ROUNDS),3) ONLY=$(ONLY) $(BIN)/python -m tests.bench.bench

faults: $(VENV)/.dev ## The fault matrix alone: scripted faults, real processes, real kills
	$(BIN)/python -m pytest tests/faults -n auto --dist loadgroup -m ''

soak: $(VENV)/.dev ## Kill runs at random moments, many times (ROUNDS=100 SEED=0)
	$(BIN)/python -m tests.faults.kill_loop $(or $(ROUNDS),100) $(or $(SEED),0)

fuzz: $(VENV)/.dev ## Read mutated Avro files with little memory and time (N=10000 SEED=0)
	$(BIN)/python -m tests.faults.fuzz $(or $(N),10000) $(or $(SEED),0)

reference: $(VENV)/.dev ## Write docs/reference.md from the code
	$(BIN)/python -m tests.reference.generate

pictures: $(VENV)/.dev ## Make the pictures of docs/pictures/ (needs Chromium)
	$(BIN)/python -m tests.commands.report.pictures

hooks: $(VENV)/.dev ## Install the git hooks of .pre-commit-config.yaml (needs pre-commit)
	pre-commit install

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what the targets above made
	rm -rf $(VENV) .bench .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.runtime
