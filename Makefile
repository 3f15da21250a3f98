# `make demo` and `make test` are each enough on a machine with Python 3.11+ and make:
# both set up .venv first, and again whenever pyproject.toml or constraints.txt change.

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Each worker is one process of one thread, so that they do not fight over the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint format types bench bless clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

$(STAMP): pyproject.toml constraints.txt
	@$(BIN)/python -c '' 2>/dev/null || { \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo 'schedc needs Python 3.11 or newer; "$(PYTHON)" is' "$$($(PYTHON) --version 2>/dev/null || echo 'not there')." >&2; \
	    echo 'Name another one, as in: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; \
	    exit 1; }; \
	  echo "==> making $(VENV) with $$($(PYTHON) --version)"; \
	  $(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null
	@echo '==> installing schedc and what its tests need (minutes, the first time)'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt setuptools
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt \
	  --no-build-isolation --editable '.[test]'
	@touch $@

demo: $(STAMP) ## compile, check, plot and train with a schedule
	@$(BIN)/python examples/demo.py $(ARGS)

test: $(STAMP) ## the tests, less the slow ones (ARGS=... goes to pytest)
	@echo '==> tests'
	@$(PYTEST) -n $(WORKERS) -m 'not slow and not gpu' $(ARGS)

# pytest says 5 when it finds no test; that is no failure here.
test-all: $(STAMP) ## the slow tests, and the GPU's where there is one
	@echo '==> slow tests'
	@$(PYTEST) -n $(WORKERS) -m 'slow or gpu' $(ARGS) || [ $$? -eq 5 ]

lint: $(STAMP) ## layout and rules, by ruff
	@echo '==> lint'
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

format: $(STAMP) ## lay out the code, and put right what ruff can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

types: $(STAMP) ## mypy --strict
	@echo '==> types'
	@$(BIN)/mypy

bench: $(STAMP) ## measure; prints a table
	@$(BIN)/python benchmarks/check.py $(ARGS)

bless: $(STAMP) ## rewrite what the golden cases expect; read the diff as code
	@$(PYTEST) --bless $(ARGS)

clean: ## remove what was built; .venv stays
	@rm -rf build dist out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov
	@find . -name $(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +
