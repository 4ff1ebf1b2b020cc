# make demo · make test · make dagster · make bench · make faults · make rounds · make clean — `make help` says more.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced
UV_VERSION := 0.13.8
# The lock decides; uv takes the Python of the venv and downloads none.
UV := UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv
export DO_NOT_TRACK := 1
# Tests start hundreds of processes: each imports dbt in 2 CPU-seconds instead of 4 where Python may keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE

$(STAMP): uv.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(UV) sync --quiet --frozen --inexact
	@touch $@

.PHONY: help install demo test lint dagster bench faults rounds clean
help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make .venv with everything in it

demo: $(STAMP)  ## start databases and sandbox vendors, extract, load, transform, report
	@$(BIN)/larder demo

test: $(STAMP)  ## everything CI needs
	@BIN=$(BIN) bash tests/run.sh

lint: $(STAMP)  ## ruff, mypy, sqlfluff, Dagster's definitions and the generated files
	@BIN=$(BIN) bash tests/run.sh lint

dagster: $(STAMP)  ## Dagster's UI on the same instance (Ctrl-C stops it)
	@$(BIN)/larder dagster

bench: $(STAMP)  ## loads, the whole way, and summaries kept four ways; each beside its peer
	@$(BIN)/python -m bench

faults: $(STAMP)  ## what is done to Larder on purpose, all of it (an hour); writes docs/faults.md
	@rm -f target/faults.json
	@FAULTS_RESULTS=target/faults.json $(BIN)/pytest -m 'fault or faults' --timeout 1800 -n 2 --dist loadfile --no-loadscope-reorder; ended=$$?; \
	$(BIN)/python -m tests.faults.page --write; exit $$ended

rounds: $(STAMP)  ## what is random (nightly): 1,000 rounds of changes against changed_facets, new examples for properties
	@$(BIN)/python -m tests.facets.rounds --rounds 1000
	@$(BIN)/pytest -m hypothesis --timeout 1800 -n 2 --dist loadfile

clean:  ## stop what this project started (only that) and remove its data
	@if test -x $(BIN)/larder; then $(BIN)/larder clean --yes; else echo "nothing to clean"; fi
