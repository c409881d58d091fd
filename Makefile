SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help env demo samples test test-importers test-all fuzz test-drivers test-kill test-faults test-outages test-minio test-iceberg test-cluster test-matrix test-ci test-ci-minio test-ci-matrix test-ci-iceberg bench lake lab export clean minio notebooks recording docs browser

PYTHON ?= $(firstword $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; (3, 11) <= sys.version_info < (3, 14) and print(sys.executable)' 2>/dev/null; done))
UV_VERSION := 0.13.9
UV = $(shell command -v uv || echo .uv/bin/uv)
ENSURE_UV = [ -x "$(UV)" ] || { echo "Fetching uv $(UV_VERSION) …"; \
	$(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet uv==$(UV_VERSION); }
SYNC = UV_PYTHON_DOWNLOADS=never $(UV) sync --frozen --python $(PYTHON)
PY := .venv/bin/python
# What a test's Java runs, it runs seldom: its second, thorough compiler would take longer than it saves.
TEST := IN_TEST=1 SPARK_SUBMIT_OPTS="-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=400m"
OF_FORMAT := $(if $(FORMAT),CDM_FORMAT=$(FORMAT))
SIDE_BY_SIDE := $(PY) -m pytest --nbval-lax --numprocesses 2 --dist loadfile
# what needs several drivers, a proxy that spoils requests, or a JVM of its own for each command
SEVERAL := $(addprefix tests/test_,maintain.py drivers.py kill.py outages.py faults.py cli.py operate.py status.py named_spark.py in_notebooks.py site.py)
# suites of many imports in a row, which take as long as all others of the engine together
LONG := $(addprefix tests/test_,good_input.py inputs.py batches.py order.py fuzz.py)
ALL_IMPORTERS := tests/test_importers.py nbs/importers
# a table that jobs replace, aligned and headless files
ON_MINIO := checkm2 seqkit mmseqs2
# what has no other catalog, command line or cluster in it
ON_ICEBERG := $(addprefix tests/test_,events.py inputs.py maintain.py good_input.py order.py security.py importers.py iceberg.py)
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cdm-event-importers
CREDENTIALS := CDM_S3_ROOT_USER CDM_S3_ROOT_PASSWORD CDM_S3_USER CDM_S3_PASSWORD CDM_DATABASE_PASSWORD CDM_SPARK_SECRET CDM_LAB_TOKEN CDM_POLARIS_PASSWORD
MINIO_VERSION := v0.0.0-20250907161309-07c3a429bfed

help: ## this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: .venv/.made ## the Python environment in .venv, as locked; asks for Java 17, too
	@$(PY) -m cdmeventimporters.dev.lake.java

demo: env ## the lake, and a little history of CheckM2 jobs in it; FORMAT=iceberg on today's platform
	@$(OF_FORMAT) $(PY) -m cdmeventimporters.dev.lake.demo

test: env ## lint and types; the tests and notebooks of the engine that one driver can run; on SeaweedFS
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(TEST) $(SIDE_BY_SIDE) tests nbs/core $(addprefix --ignore=,$(LONG) $(SEVERAL) tests/test_importers.py)

test-importers: env ## all importers on all samples, and their notebooks; IMPORTER=quast for one
	$(TEST) $(SIDE_BY_SIDE) $(ALL_IMPORTERS) $(if $(IMPORTER),-k $(IMPORTER))

test-all: env .venv-faults/.made browser ## the rest: importers, good input, long histories, batches, several drivers, kills, outages, faults, the command line, the site; the other notebooks
	$(TEST) $(SIDE_BY_SIDE) $(LONG) $(SEVERAL) $(ALL_IMPORTERS) nbs/dev nbs/tutorials

fuzz: env ## FUZZ=10 times as many odd inputs as in `make test-all`, others each time
	CDM_FUZZ=$(or $(FUZZ),10) $(TEST) $(PY) -m pytest tests/test_fuzz.py

test-drivers: env ## three drivers on one table, each with a JVM of its own: 60 jobs, each delivered twice
	CDM_DRIVER_JOBS=60 $(TEST) $(PY) -m pytest tests/test_drivers.py

test-kill: env ## kill -9 of a driver at each step, and at 30 random moments; CDM_KILL_SEED=… repeats a run
	CDM_KILLS=30 $(TEST) $(PY) -m pytest -s tests/test_kill.py

test-faults: env .venv-faults/.made ## what happens when S3 fails: all cases, of which `make test-all` has some
	$(TEST) $(PY) -m pytest tests/test_faults.py -m ""

test-outages: env .venv-faults/.made ## a driver that stands still, a catalog that goes away, a full disk
	$(TEST) $(PY) -m pytest tests/test_outages.py -m ""

test-minio: env minio .venv-faults/.made ## the tests on a MinIO server
	PATH="$(CACHE)/bin:$$PATH" CDM_TEST_S3=minio $(TEST) $(PY) -m pytest $(or $(MINIO_TESTS),tests) $(PYTEST_ARGS)

test-iceberg: env ## a part of the tests on Iceberg tables in a REST catalog; ICEBERG_TESTS=… PYTEST_ARGS=… for others
	CDM_FORMAT=iceberg $(TEST) $(PY) -m pytest $(or $(ICEBERG_TESTS),$(ON_ICEBERG)) $(or $(PYTEST_ARGS),-m '(matrix or s3) and not slow')

test-iceberg%: .venv-spark%/.made ## … on the Spark and the Iceberg of the platform (40), and on Spark 3.5 (35)
	@.venv-spark$*/bin/python -m cdmeventimporters.dev.lake.java
	CDM_FORMAT=iceberg $(TEST) .venv-spark$*/bin/python -m pytest $(or $(ICEBERG_TESTS),tests/test_events.py tests/test_iceberg.py) $(or $(PYTEST_ARGS),-m matrix)

test-cluster: env minio ## the services of docker-compose.yml as processes, and a part of the tests in a driver on them
	PATH="$(CACHE)/bin:$$PATH" $(PY) tests/cluster.py pytest tests $(or $(PYTEST_ARGS),-m 'matrix and not once')

test-matrix: test-spark40 test-spark35 ## the tests on Spark 4.0 and Spark 3.5

test-ci: ## what CI runs besides: a part of the tests, and notebooks, on MinIO; a part on the other Sparks
	$(MAKE) env minio .venv-faults/.made .venv-spark40/.made .venv-spark35/.made
	$(MAKE) --jobs=2 --output-sync test-ci-minio test-ci-matrix test-ci-iceberg

test-ci-minio: PYTEST_ARGS = -m '(matrix or s3) and not slow and not once'
# the suite of all importers, and most of their notebooks, have run on SeaweedFS
test-ci-minio: MINIO_TESTS = --nbval-lax tests --ignore=tests/test_importers.py $(ON_MINIO:%=nbs/importers/%.ipynb) nbs/tutorials
test-ci-minio: test-minio
test-ci-matrix: PYTEST_ARGS = -m matrix
test-ci-matrix: test-matrix
test-ci-iceberg: # all importers on all samples are left to `make test-iceberg`; events run on the platform's own pair
	$(MAKE) test-iceberg ICEBERG_TESTS="$(addprefix tests/test_,good_input.py inputs.py maintain.py order.py iceberg.py)"
	$(MAKE) test-iceberg40

test-spark%: .venv-spark%/.made .venv-faults/.made
	@.venv-spark$*/bin/python -m cdmeventimporters.dev.lake.java
	$(TEST) .venv-spark$*/bin/python -m pytest tests $(PYTEST_ARGS)

bench: env ## what an import costs, beside the limit and the alternatives; FORMAT=iceberg on Iceberg; BENCH=--full for all cases
	$(SYNC) --group bench --quiet
	@$(OF_FORMAT) $(PY) -m bench $(BENCH)

lake: env ## a warm lake for notebooks, until Ctrl-C; FORMAT=iceberg for Iceberg tables
	@$(OF_FORMAT) $(PY) -m cdmeventimporters.dev.lake.warm

lab: env ## JupyterLab, with a warm lake while it is open; LAB_ARGS=--allow-root in a container
	@$(OF_FORMAT) $(PY) -m cdmeventimporters.dev.lake.warm lab nbs $(LAB_ARGS)

samples: env ## real runs of the tools that are on the PATH (mash, diamond, blastp, seqkit, mmseqs, skani), as samples
	$(PY) tests/samples.py

notebooks: env ## execute the notebooks of importers and tutorials, and store what they show; NOTEBOOKS=… for some
	@$(PY) tests/outputs.py $(NOTEBOOKS)

recording: env ## docs/demo.svg: what `make demo` prints, as it comes
	@$(PY) tests/recording.py

docs: .venv/.made ## the documentation site, in site/; needs no Java
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "Open site/index.html in a browser."

browser: ## Chromium and its driver, which test pages; root installs them where they are missing
	@{ command -v chromium && command -v chromedriver; } >/dev/null || if [ "$$(id -u)" = 0 ]; then \
		apt-get update --quiet && DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends chromium chromium-driver; \
		else echo "The tests of pages need a browser: apt-get install chromium chromium-driver"; exit 1; fi

export: env ## modules from notebooks
	.venv/bin/nbdev_export

.env: ## random credentials for docker-compose.yml, if there are none yet
	@umask 077; { echo "CDM_UID=$$(id -u)"; for name in $(CREDENTIALS); do \
		echo "$$name=$$(head -c 10 /dev/urandom | od -An -tx1 | tr -d ' \n')"; done; } > $@

clean: ## remove what was made here; what was downloaded stays
	rm -rf .venv .venv-faults .venv-spark40 .venv-spark35 .uv .lake site .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

minio: $(CACHE)/bin/minio ## build the MinIO server, once (needs Go; 6 minutes)

$(CACHE)/bin/minio:
	@command -v go >/dev/null || { echo "Go is needed to build MinIO: install it, or put a minio on the PATH."; exit 1; }
	@echo "Building MinIO, once: about 6 minutes …"
	@mkdir -p $(@D) && new=$$(mktemp -d $(@D)/XXXXXX) && GOBIN=$$new go install github.com/minio/minio@$(MINIO_VERSION) \
		&& mv $$new/minio $@ && rmdir $$new
	@echo "It is in $(CACHE)/bin"

.venv/.made: pyproject.toml uv.lock | python
	@$(ENSURE_UV)
	$(SYNC) && touch $@

.venv-faults/.made: pyproject.toml uv.lock | python
	@$(ENSURE_UV)
	UV_PROJECT_ENVIRONMENT=.venv-faults $(SYNC) --only-group faults && touch $@

.venv-spark%/.made: pyproject.toml uv.lock | python
	@$(ENSURE_UV)
	UV_PROJECT_ENVIRONMENT=.venv-spark$* $(SYNC) --no-group spark41 --group spark$* && touch $@

.SECONDARY:
.PHONY: python
python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11, 3.12 or 3.13 is needed, and there is none on the PATH: install one."; exit 1; }
