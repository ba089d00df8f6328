# `make` lists the targets. Everything is set up in .venv on first use; nothing is installed outside this folder.
.DEFAULT_GOAL := help
.PHONY: help run setup setup-dev test test-fast test-faults lint format locks bench azure-demo clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
export UV_SYSTEM_CERTS := 1
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: $(VENV)/.ready ## evaluate, gate, register and deploy the first prompt flow on this machine
	$(BIN)/sluice run named_entity_recognition -e local

setup: $(VENV)/.ready ## only set up the environment

setup-dev: $(VENV)/.ready-dev ## set up the environment with the development tools

test: $(VENV)/.ready-dev ## run every test
	$(BIN)/pytest -n 2 --dist loadfile

test-fast: $(VENV)/.ready-dev ## run the tests that need no server and no runtime (seconds)
	$(BIN)/pytest -m "not real and not faults"

test-faults: $(VENV)/.ready-dev ## run every fault at every request of every step of a release to Azure (minutes)
	$(BIN)/pytest -m faults -p no:logging tests/platforms/azure/test_release_faults.py tests/platforms/azure/test_compute

lint: $(VENV)/.ready-dev ## formatting, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready-dev ## format the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

locks: $(VENV)/.ready ## resolve the requirement files anew
	$(BIN)/python requirements/lock.py

bench: $(VENV)/.ready-dev ## measure the ratios of docs/performance.md
	$(BIN)/python -m benchmarks

azure-demo: $(VENV)/.ready-dev ## release both prompt flows to an emulated Azure, without an account
	$(BIN)/python -m tests.azure_emulator

clean: ## end every process of this folder and remove .sluice and .venv
	if test -x $(BIN)/sluice; then $(BIN)/sluice down; fi
	rm -rf .sluice $(VENV)

$(VENV)/bin/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sluicegate needs Python 3.11 or newer; try: make PYTHON=python3.11 run")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)

$(VENV)/.ready: requirements/orchestrator.txt pyproject.toml $(VENV)/bin/uv
	@echo "Setting up $(VENV): about a minute the first time"
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode requirements/orchestrator.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --compile-bytecode --editable .
	@touch $@

$(VENV)/.ready-dev: requirements/dev.txt $(VENV)/.ready
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes --compile-bytecode -r requirements/dev.txt
	@touch $@
