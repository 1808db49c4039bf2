# Every target sets up its own environment; only make and Python 3.11 or later are needed.

PYTHON ?= python3
VENV ?= .venv
# Twice as many as there are processors, as many tests wait.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock
VERSION = $(shell $(BIN)/hatchling version)

.PHONY: demo demo-cluster test soak check format docs site pictures bench lock sbom release clean

demo: $(VENV)/.installed
	@echo "Linking the emails of a sample mapping in a local CRM: bulklink demo"
	@$(BIN)/bulklink demo

demo-cluster: $(VENV)/.installed-cluster
	@echo "Sending the runs of five orgs with three workers, one of which is killed: two minutes"
	@$(BIN)/python -m tests.cluster.demo

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

soak: $(VENV)/.installed-dev
	$(BIN)/python -m tests.simulation.soak --seeds 30000
	BULKLINK_TEST_KILLS=20 BULKLINK_TEST_COMMANDS=99 $(BIN)/pytest -n $(WORKERS) --dist worksteal tests/crash tests/hostile
	BULKLINK_TEST_KILLS=20 BULKLINK_TEST_CLUSTER_FACTOR=1 BULKLINK_TEST_ORGS=200 $(BIN)/pytest -n 2 tests/cluster
	BULKLINK_TEST_INSTALLS=9 $(BIN)/pytest tests/docs/test_install.py
	$(BIN)/pytest tests/docs/soak_orchestrators.py

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
	$(BIN)/python -m tests.docs.test_guides
	$(BIN)/python -m tests.docs.house

site: $(VENV)/.installed-dev
	$(BIN)/python -m tests.docs.site build/site

pictures: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/terminal.py
	$(BIN)/python benchmarks/pictures.py

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/results.py
	$(BIN)/python benchmarks/loadtest.py --write

lock: $(VENV)/.installed-dev
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-index-url \
		--no-header --output-file requirements.lock pyproject.toml

define write_sbom
rm -rf build/sbom
$(BIN)/uv build --quiet --offline --no-build-isolation --wheel --python $(BIN)/python --out-dir build/sbom .
$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/sbom/venv
$(BIN)/uv pip install --quiet --python build/sbom/venv -c requirements.lock build/sbom/*.whl
mkdir -p dist
$(BIN)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
	--output-file dist/bulklink-$(VERSION).cdx.json build/sbom/venv
endef

sbom: $(VENV)/.installed-dev
	$(write_sbom)

# The times in the files are those of the commit, so that anybody can build the same bytes.
release: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
release: $(VENV)/.installed-dev
	@test -z "$$(git status --porcelain)" || { echo "Commit or remove what has changed: a release is what is committed."; exit 1; }
	@grep -q "^## $(VERSION) (" CHANGELOG.md || { echo "CHANGELOG.md has no section for $(VERSION): see docs/releasing.md."; exit 1; }
	rm -rf dist
	$(BIN)/uv build --quiet --offline --no-build-isolation --sdist --wheel --python $(BIN)/python --out-dir dist .
	$(write_sbom)
	cd dist && sha256sum bulklink-* > SHA256SUMS

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bulklink needs Python 3.11 or later")'
	@echo "Creating a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "Installing bulklink and what it needs in $(VENV): about half a minute, once"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-cluster: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "Installing bulklink and its cluster in $(VENV): about half a minute, once"
	@$(PIP) --editable '.[cluster]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "Installing bulklink, its tests and its checks in $(VENV): one to two minutes, once"
	@$(PIP) --editable '.[test,check,docs]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-cluster
