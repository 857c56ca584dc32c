# Two commands: `make demo` shows it, `make test` proves it. Each makes the virtual environment it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
FLOORS := .venv-floors

.PHONY: demo test floors check bench clean

demo: $(VENV)/.installed
	$(BIN)/python -m demo --speak

test: $(VENV)/.installed check floors
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest --cov --cov-report=term

# The same tests on the oldest supported versions of what we stand on.
floors: $(FLOORS)/.installed
	$(FLOORS)/bin/python -m pytest -m "not newest"

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed
	$(BIN)/python -m bench

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(FLOORS)/.installed: pyproject.toml .ci/floors.txt
	$(PYTHON) -m venv $(FLOORS)
	$(FLOORS)/bin/python -m pip install --quiet --upgrade pip
	$(FLOORS)/bin/python -m pip install --quiet --editable '.[dev]' --constraint .ci/floors.txt
	touch $@

clean:
	rm -rf $(VENV) $(FLOORS) .coverage* .mypy_cache .pytest_cache .ruff_cache demo-output dist build
