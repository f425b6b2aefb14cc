# Two commands: `make run` starts the demo (no cluster needed), `make test` sets everything up and runs the tests.
SHELL := /bin/bash
# Python 3.13, as the image has it; `make PYTHON=/usr/bin/python3.12` takes another one for .venv.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= .demo
ARGS ?=

.PHONY: run test test-kind image tools lint types bench bench-gate bench-operator bench-pauses bench-hostile chaos fuzz docs lock clean

run: $(VENV)/.run
	@scripts/debian-packages docker-registry apache2-utils skopeo
	@$(BIN)/pullgate demo $(DEMO) $(ARGS)

test: $(VENV)/.dev tools
	$(BIN)/pytest -n 2 --dist loadgroup $(ARGS)

test-kind: $(VENV)/.dev tools
	@scripts/test-kind $(ARGS)

# Named pullgate:VERSION, or as ARGS says.
image:
	@scripts/image $(ARGS)

tools: $(VENV)/.dev
	@tests/support/tools/install.sh

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	git ls-files -z '*.sh' scripts ':!*.py' .ci/run | xargs -0 $(BIN)/shellcheck
	$(BIN)/hadolint Dockerfile
	$(BIN)/python scripts/plain_english.py $$(git ls-files '*.md' '*.py')

types: $(VENV)/.dev
	$(BIN)/mypy

bench: $(VENV)/.dev tools
	$(BIN)/python -m benchmarks $(ARGS)

bench-gate: $(VENV)/.dev tools
	$(BIN)/python -m benchmarks.gate $(ARGS)

bench-operator: $(VENV)/.dev tools
	$(BIN)/python -m benchmarks.operator $(ARGS)

# ARGS="--before TREE" measures another tree beside this one.
bench-pauses: $(VENV)/.dev
	$(BIN)/python -m benchmarks.pauses $(ARGS)

bench-hostile: $(VENV)/.dev tools
	$(BIN)/python -m benchmarks.hostile $(ARGS)

# Every toxic for 10 s, and docs/reliability.md: about 9 minutes.
chaos: $(VENV)/.dev tools
	$(BIN)/python -m tests.chaos $(ARGS)

# Each parser for some seconds, then a million requests out of shape: about 15 minutes. ARGS="--count 10000 --seed 1" is
# a quick look at the second; `python -m tests.fuzz.parsers --parser NAME --seconds N` a long one at a parser.
fuzz: $(VENV)/.dev tools
	$(BIN)/python -m tests.fuzz.parsers --seconds 4
	$(BIN)/python -m tests.fuzz $(ARGS)

docs: $(VENV)/.dev tools
	@rm -rf build/errors build/types
	PULLGATE_ERRORS_DIR=build/errors $(BIN)/pytest -n 2 --dist loadgroup tests/clients/test_errors.py
	$(BIN)/python -m tests.clients.errors_page build/errors
	$(BIN)/python -m tests.support.guide_pages
	$(BIN)/python -m tests.support.reference_pages
	$(BIN)/python -m tests.support.field_pages
	PULLGATE_TYPES_DIR=build/types $(BIN)/pytest -n 2 --dist loadgroup tests/providers tests/component/providers
	$(BIN)/python -m tests.providers.types_page build/types
	$(BIN)/python -m tests.support.pictures

lock: $(VENV)/.dev
	scripts/lock

clean:
	rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .hypothesis dist

$(BIN)/python:
	@python=$(PYTHON); "$${python:-$$(scripts/python)}" -m venv $(VENV)

$(VENV)/.run: requirements/run.lock requirements/build.lock pyproject.toml | $(BIN)/python
	@echo "Installing Pullgate into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock -r requirements/build.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	@echo "Installing the development tools into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock -r requirements/build.lock
	@touch $@
