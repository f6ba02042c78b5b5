# One word does it all, on a fresh clone too: Python 3.11 or newer, make and a network are enough.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run demo test bench fuzz fuzz-guided mutants faults lint types clean

help:
	@echo 'make run     start the server in development mode on http://127.0.0.1:8080'
	@echo 'make demo    walk through the whole flow against a real server'
	@echo 'make test    run every test'
	@echo 'make bench   measure tokens and introspection beside floors and peers (needs wrk; docs/performance.md)'
	@echo 'make fuzz    throw a million mutated tokens and 100,000 mutated requests at the server, and judge 100,000 by random policies'
	@echo 'make fuzz-guided  the same readers, guided by coverage (atheris; where it installs)'
	@echo 'make mutants delete each security check in turn; the tests must notice every one'
	@echo 'make faults  kill, stop, starve and damage real servers under load; NAMES chooses, see docs/faults.md'
	@echo 'make lint    check style and format'
	@echo 'make types   check types'
	@echo 'make clean   remove the virtual environment and caches; keys/ and instance/ stay'

run: $(VENV)/.installed
	@exec $(BIN)/authserver serve --dev

demo: $(VENV)/.installed
	@exec $(BIN)/authserver demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 3 --dist loadfile

bench: $(VENV)/.installed-dev
	$(BIN)/python -m bench --write docs/performance.md

fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz
	$(BIN)/python -m tests.fuzz.policies

fuzz-guided: $(VENV)/.installed-dev
	@$(PIP) --require-hashes -r requirements-fuzz.txt
	$(BIN)/python -m tests.fuzz.guided

mutants: $(VENV)/.installed-dev
	$(BIN)/python -m tests.mutants

faults: $(VENV)/.installed-dev
	$(BIN)/python -m tests.faults $(NAMES)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage build dist
	find authserver tests -type d -name __pycache__ -exec rm -rf {} +

# The first of these that runs and is new enough. A name alone is no proof: it may be a shim for nothing.
$(BIN)/python:
	@for name in python3.11 python3.12 python3.13 python3.14 python3 python; do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making $(VENV) with $$name ($$($$name --version))"; \
			exec $$name -m venv $(VENV); \
		fi; \
	done; \
	echo 'No Python 3.11 or newer was found: install one so that python3.11 or python3 runs it.' >&2; \
	exit 1

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	@echo 'Installing what the server needs'
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt pyproject.toml | $(BIN)/python
	@echo 'Installing what the tests need'
	@$(PIP) --require-hashes -r requirements-dev.txt
	@$(PIP) --no-deps --editable .
	@touch $@ $(VENV)/.installed
