# Every target sets up its own environment; only make and Python 3.11 or later are needed.

PYTHON ?= python3
VENV ?= .venv
# Twice as many as there are processors, as many tests wait.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock

.PHONY: demo test soak check format docs pictures bench lock clean

demo: $(VENV)/.installed
	$(BIN)/bulklink demo

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

soak: $(VENV)/.installed-dev
	$(BIN)/python -m tests.simulation.soak --seeds 30000
	BULKLINK_TEST_KILLS=20 BULKLINK_TEST_COMMANDS=99 $(BIN)/pytest -n $(WORKERS) --dist worksteal tests/crash tests/hostile

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32
	$(BIN)/mypy --platform darwin
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-dev
	$(BIN)/python -m tests.docs.reference
	$(BIN)/python -m tests.docs.tutorial

pictures: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/terminal.py
	$(BIN)/python benchmarks/pictures.py

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/results.py
	$(BIN)/python benchmarks/loadtest.py --write

lock: $(VENV)/.installed-dev
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-index-url \
		--no-header --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bulklink needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(PIP) --editable '.[test,check]'
	touch $@ $(VENV)/.installed
