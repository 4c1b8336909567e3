# Two commands for a fresh machine: `make run` does the main job, `make test` passes the tests.
#
# A torch of your own (another CUDA, ROCm or CPU build) is kept: put it into the environment
# first, `make venv && .venv/bin/pip install torch ...`, or let the environment see the one of
# your system, `make run VENV_OPTIONS=--system-site-packages`.

PYTHON ?= python3
VENV ?= .venv
VENV_OPTIONS ?=
BUDGET ?= 10m
BIN = $(VENV)/bin

.PHONY: run test test-slow test-gpu lint venv install install-test clean

run: install
	$(BIN)/noctuary run --budget $(BUDGET)

test: install-test lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: install-test
	$(BIN)/python -m pytest -m slow

test-gpu: install-test
	$(BIN)/python -m pytest -m gpu

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

venv: $(BIN)/python

$(BIN)/python:
	$(PYTHON) -m venv $(VENV_OPTIONS) $(VENV)

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test

# the pinned versions, without torch where one is there already
$(VENV)/constraints.txt: constraints.txt | $(BIN)/python
	@if $(BIN)/python -c 'import torch' 2>/dev/null; \
	then grep -v '^torch==' constraints.txt > $@; else cp constraints.txt $@; fi

$(VENV)/.installed: pyproject.toml $(VENV)/constraints.txt
	@echo "installing into $(VENV); the first time takes some minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c $(VENV)/constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c $(VENV)/constraints.txt -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
