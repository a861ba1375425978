# The whole interface for a contributor. Needs Python 3.11 or later, and nothing else:
# the environment is made in $(VENV), PostgreSQL for the tests comes from a wheel.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo demo-tenants test coverage check screenshots images bench bench-full soak soak-full clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   run the example workflow on a fresh SQLite database"
	@echo "make demo-tenants  the same as a site with two tenants, each in a PostgreSQL schema"
	@echo "make test   run the tests on SQLite, on PostgreSQL, and on a site with tenants"
	@echo "make coverage  the same, and which lines they do not reach"
	@echo "make check  format, lint, types, import contracts, migrations"
	@echo "make screenshots  every page of the admin, light and dark, wide and narrow, in $(SHOTS)"
	@echo "make images  the pictures of the documentation, in docs/images"
	@echo "make bench  measure this engine beside others, into docs/benchmarks.md; some minutes"
	@echo "make bench-full  all peers and workloads, some hours; BENCH_ARGS=--help says what else"
	@echo "make soak   real workers under all faults at once, on both databases; ten minutes"
	@echo "make soak-full  the same with 10,000 runs and 5,000, an hour; SOAK_ARGS=--help says what else"
	@echo "make clean  remove what the targets above made"

$(addprefix $(VENV)/.,base tenants test dev): $(VENV)/.%: requirements/%.txt requirements/base.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement $<
	@touch $@

demo: $(VENV)/.base
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py demo

# On a PostgreSQL of its own, from a wheel; DATABASE_URL=postgresql://... names another.
demo-tenants: export DJANGO_SETTINGS_MODULE = example_project.tenant_settings
demo-tenants: $(VENV)/.tenants
	@$(BIN)/python manage.py migrate_schemas --verbosity 0
	@$(BIN)/python manage.py demo_tenants

# Four processes, for tests wait more than they compute, and each file in one of them;
# PYTEST_ARGS=-n0 runs the tests in one process, for a debugger. DATABASE_URL=postgresql://... runs all but the first on that server.
PYTEST = $(BIN)/python -m pytest
PYTEST_ARGS = --numprocesses=4 --dist=loadfile

test: $(VENV)/.test
	TEST_DATABASE=sqlite $(PYTEST) $(PYTEST_ARGS)
	TEST_DATABASE=postgresql $(PYTEST) --ignore=tests/core --ignore=tests/contract $(PYTEST_ARGS)
	TEST_DATABASE=tenants $(PYTEST) tests/tenants $(PYTEST_ARGS)

# The same under coverage, which takes half as long again.
coverage: $(VENV)/.test
	$(BIN)/coverage erase
	$(MAKE) test PYTEST="$(BIN)/coverage run -m pytest"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

# Needs a Chromium: the path in CHROMIUM, else /usr/bin/chromium or one on PATH.
SHOTS = artifacts/shots

screenshots: $(VENV)/.test
	CLOACA_SHOTS=$(SHOTS) $(BIN)/python -m pytest tests/interface/admin/shots.py -q

# Those of the documentation, in docs/images: take them anew when the pages look different.
images: $(VENV)/.dev
	$(BIN)/python -m pytest tests/interface/admin/doc_images.py -q

# Builds environments of its own, so it needs none of ours.
BENCH = $(PYTHON) -m benchmarks --output docs/benchmarks.md

bench:
	$(BENCH) $(BENCH_ARGS)

bench-full:
	$(BENCH) --full $(BENCH_ARGS)

# Each prints a table and ends with an error if a promise was broken. Root may mount a small disk,
# which is filled then; all else needs no rights.
SOAK = $(BIN)/python -m tests.soak
SOAKED = artifacts/soak

soak: $(VENV)/.test
	mkdir -p $(SOAKED)
	$(SOAK) --database postgresql --output $(SOAKED)/postgresql.md $(SOAK_ARGS)
	$(SOAK) --database sqlite --runs 1000 --output $(SOAKED)/sqlite.md $(SOAK_ARGS)

soak-full: $(VENV)/.test
	mkdir -p $(SOAKED)
	$(SOAK) --database postgresql --runs 10000 --seconds 1800 --output $(SOAKED)/postgresql.md $(SOAK_ARGS)
	$(SOAK) --database sqlite --runs 5000 --seconds 1500 --output $(SOAKED)/sqlite.md $(SOAK_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf example_project/*.sqlite3* example_project/tenants.pgdata
