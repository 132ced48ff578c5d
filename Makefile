# Every target does its own set-up: a virtual environment in .venv, filled once from the package registry.
# `make PYTHON=/path/to/python3.12 test` picks another interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ifeq ($(origin PYTHON), undefined)
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)
endif

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
WORKERS ?= 2
SERVERS ?= triton torch kserve tfapi tf
HINTS := $(VENV)/hints.jsonl
MODULES := web/node_modules/.package-lock.json

.PHONY: help demo test test-long test-servers model-servers test-clusters test-sweep hints check lint format web bench dist clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo           track, push, clone and pull a real data set in a temporary folder; the page of its runs stays in build/
demo: $(VENV)/.installed-demo
	@DEMO_PAGE="$(CURDIR)/build/runs.html" PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

## make test           every test but the long ones, against a real S3 server (ARGS=... goes to pytest)
test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'not long and not servers' $(ARGS)

## make test-long      the long ones: random histories and schedules, large data; more examples of each property
test-long: $(VENV)/.installed-dev $(VENV)/.installed-outside $(VENV)/.installed-dvc
	@if command -v npm >/dev/null; then $(MAKE) $(MODULES); fi
	PATH="$(CURDIR)/$(VENV)/on-path:$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m '(long or hypothesis) and not sweep and not servers' --hypothesis-profile=long $(ARGS)

## make test-servers   with programs that take long to install or start: ML-Metadata (71 MB), Dask, judges of cluster jobs, model servers (2 GB; not with SERVERS=)
test-servers: $(VENV)/.installed-dev $(VENV)/.installed-mlmd $(VENV)/.installed-clusters $(VENV)/.installed-dask model-servers
	@PATH="$(CURDIR)/$(VENV)/on-path:$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -rs -m servers $(ARGS)

## make test-clusters  of these, jobs for clusters alone (kubernetes-validate, kubectl, docker)
test-clusters: $(VENV)/.installed-dev $(VENV)/.installed-clusters
	@$(BIN)/python -m pytest -rs -m servers tests/clusters $(ARGS)

## make test-sweep     every command by every kind of fault, every damage by every place: an hour
test-sweep: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m sweep $(ARGS)

## make hints          run what every error and next step of the suite names, in copies; as root (ARGS=... for some tests)
hints: $(VENV)/.installed-dev
	@rm -f $(HINTS)
	WALK_HINTS=$(HINTS) $(BIN)/python -m pytest --quiet -n $(WORKERS) -m 'not long and not servers' $(or $(ARGS),tests/commands tests/cli) || failed=yes
	$(BIN)/python -m tests.hints $(HINTS)
	[ -z "$${failed:-}" ]

## make check          format, lint, types, architecture, docs
check: lint
	@$(BIN)/python -m pytest --quiet tests/test_architecture.py tests/test_docs.py

## make lint           format, lint, types: what CI runs before all tests
lint: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

## make format         put the code into its format and mend what lint can
format: $(VENV)/.installed-dev
	@$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## make web            build the program of the page of runs from web/ (needs npm); what is built is committed
web: $(MODULES)
	@cd web && npm run --silent build

$(MODULES): web/package-lock.json
	@cd web && npm ci --silent --no-audit --no-fund

## make bench          the table of the README, measured here (ARGS=... goes to benchmarks/run.py)
bench: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/run.py $(ARGS)

## make dist           wheel, source archive and release notes in dist/; the wheel runs the demo from an empty environment
dist: $(VENV)/.installed-release
	@rm -rf dist build/check
	$(BIN)/python -m build --outdir dist . >/dev/null
	$(BIN)/python -m twine check --strict dist/*.whl dist/*.tar.gz
	version=$$($(BIN)/python -c 'import dvlite; print(dvlite.__version__)')
	awk -v heading="## [$$version]" 'index($$0, heading) == 1 { on = 1; next } /^## / { on = 0 } on' CHANGELOG.md >dist/NOTES.md
	if [ ! -s dist/NOTES.md ]; then
		awk '/^## \[Unreleased\]/ { on = 1; next } /^## / { on = 0 } on' CHANGELOG.md >dist/NOTES.md
		echo "CHANGELOG.md has no section [$$version]: the notes are those of what is unreleased" >&2
	fi
	$(PYTHON) -m venv build/check
	build/check/bin/pip -qq --disable-pip-version-check --no-input install "$$(echo dist/*.whl)[demo]"
	build/check/bin/dvlite --version
	PATH="$(CURDIR)/build/check/bin:$$PATH" bash examples/demo.sh
	ls -l dist

## make clean          remove what the other targets made
clean:
	@rm -rf $(VENV) .venv-servers web/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "error: dvlite needs Python 3.11 or later; none was found (make PYTHON=/path/to/python3)" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV)

# Each server has an environment of its own, as their requirements clash; what cannot be installed is skipped by its tests, with the reason.
model-servers: | $(BIN)/python
	@for name in $(SERVERS); do
		[ -e .venv-servers/$$name/.installed ] && continue
		case $$name in
		triton) packages="nvidia-pytriton tritonclient[http,grpc]" ;;
		torch) packages="torch torchserve torch-model-archiver psutil pyyaml packaging" ;;
		kserve) packages="kserve-storage boto3" ;;
		tf) packages="tensorflow-cpu" ;;
		tfapi) packages="protobuf" ;;
		*) echo "error: there is no server $$name" >&2; exit 1 ;;
		esac
		echo "installing $$name into .venv-servers/$$name" >&2
		$(PYTHON) -m venv .venv-servers/$$name
		install=".venv-servers/$$name/bin/pip -qq --disable-pip-version-check --no-input install"
		if $$install $$packages && { [ $$name != tfapi ] || $$install --no-deps tensorflow-serving-api; }; then
			touch .venv-servers/$$name/.installed
		else
			echo "$$name cannot be installed; its tests are skipped" >&2
			rm -rf .venv-servers/$$name
		fi
	done

# $(call install,NAME,PACKAGES): programs whose requirements clash with those of the tests get an environment of their own. What cannot be installed is
# skipped by its tests, with the reason.
define install
	echo "installing $(1) into $(VENV)/$(1)" >&2
	$(BIN)/python -m venv --without-pip $(VENV)/$(1)
	if ! reason=$$($(PIP) --python $(VENV)/$(1) install --no-compile $(2) 2>&1); then
		echo "$(1) cannot be installed; the tests that run it are skipped: $$(tail -n 1 <<<"$$reason")" >&2
		rm -rf $(VENV)/$(1)
		exit 0
	fi
	mkdir -p $(VENV)/on-path
endef
DVC := 'dvc>=3.60,<4' dvc-s3
CLUSTERS := kubernetes-validate kubernetes pyyaml
MLMD := 'ml-metadata>=1.17,<2'

$(VENV)/.installed-dvc: | $(BIN)/python
	@$(call install,dvc,$(DVC))
	ln -sf ../dvc/bin/dvc $(VENV)/on-path/dvc
	touch $@

$(VENV)/.installed-clusters: | $(BIN)/python
	@$(call install,clusters,$(CLUSTERS))
	touch $@

# It sees dvlite, and what dvlite needs, in the tests' own environment, after its own packages.
$(VENV)/.installed-mlmd: $(VENV)/.installed-dev
	@$(call install,mlmd,$(MLMD))
	here=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	there=$$($(VENV)/mlmd/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	echo "import site; site.addsitedir('$$here')" >"$$there/dvlite.pth"
	printf '#!/bin/sh\nexec "%s" "$$@"\n' "$(CURDIR)/$(VENV)/mlmd/bin/python" >$(VENV)/on-path/python-with-mlmd
	chmod +x $(VENV)/on-path/python-with-mlmd
	touch $@

# A stamp is newer than pyproject.toml: installed. The interpreter is order-only, for its link keeps the date of its target.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@echo "installing dvlite and its $* extra into $(VENV)" >&2
	$(PIP) install -e '.[$*]'
	touch $@
