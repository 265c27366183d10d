# make demo   sets up and measures the bundled simulated patient
# make test   sets up, checks style and types, runs the tests (those of training run when torch is installed)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
DEMO := demo-output

.PHONY: demo test test-learn test-whole lint clean

demo: $(VENV)/installed
	$(BIN)/smallvessel demo $(DEMO)

test: lint
	$(BIN)/python -m pytest

# Everything end to end with the shipped networks, and a slice of the replayed study: 31 sessions, about a quarter of an hour on two cores.
test-whole: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m whole

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The tests of the simulator and of training; torch has to be there, so that none is skipped.
test-learn: $(VENV)/installed-train
	$(BIN)/python -c "import torch"
	$(BIN)/python -m pytest tests/simulate tests/learn

$(BIN)/python:
	$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

# torch first and pinned: a range would fetch several GB of CUDA.
$(VENV)/installed-train: pyproject.toml | $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable ".[dev,train]"
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist
