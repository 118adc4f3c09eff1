# `make` or `make help` lists what can be done. Everything runs in .venv, which is made when it is missing.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
# Of `make chaos`.
SEED ?= 1
JOBS ?= 500
SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help demo run test chaos crashes lint format types check docs bench bench-gpu samples clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

demo: $(RUNTIME)  ## Install, start everything, paint one sample picture, stop everything
	$(BIN)/python -m deploy.demo

run: $(RUNTIME)  ## The same and stay up, at http://127.0.0.1:8000
	@$(BIN)/python -m deploy.local

test: $(DEV)  ## The whole test suite, against real processes
	$(BIN)/python -m tests $(ARGS)

chaos: $(DEV)  ## Ten minutes of seeded faults under load; the report is in var/chaos/SEED
	$(BIN)/python -m tests.chaos --seed $(SEED) --jobs $(JOBS) --seconds $(SECONDS)

crashes: $(DEV)  ## What the crash of a paint worker costs, and five faults beside plain Celery
	$(BIN)/python -m bench.crashes
	$(BIN)/python -m bench.plain_celery

lint: $(DEV)  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV)  ## Put style in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV)  ## Check types, strictly
	$(BIN)/mypy

check: lint types test  ## lint, types and test

docs: $(DEV)  ## Write the generated pages of docs/
	$(BIN)/python -m deploy.configuration

bench: $(DEV)  ## Measure and write docs/benchmarks.md; PEERS=DIR compares with checkouts there
	$(BIN)/python -m bench $(if $(PEERS),--peers "$(PEERS)") $(if $(TEACHER),--teacher "$(TEACHER)") $(ARGS)

bench-gpu: $(DEV)  ## The same on a CUDA device, to docs/benchmarks-gpu.md
	$(BIN)/python -m bench.gpu --output docs/benchmarks-gpu.md $(if $(PEERS),--peers "$(PEERS)") $(ARGS)

samples: $(RUNTIME)  ## Draw the sample pictures anew
	$(BIN)/python samples/draw.py

clean:  ## Remove .venv and everything that runs left behind
	rm -rf $(VENV) var demo-output.png

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Impasto needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[local]'
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(RUNTIME)
