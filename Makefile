# Every target sees to its own set-up first (.ci/setup), which takes no time when there is nothing to do.
#   make demo       the whole chain on data it makes itself; DEMO="--data DIR" runs it on a TAU22-layout folder
#   make test       linters and the test suite;  make test-all  with the slow tests too
#   make lint       linters only;                make format    rewrite the sources as the linters want them

SHELL := /bin/bash
BIN := .venv/bin
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-all lint format setup

demo: setup
	$(BIN)/tinyscene demo $(DEMO)

# The tests run even when a linter complains, and come last, so that their summary closes the output.
test: setup
	@.ci/lint; lint=$$?; $(PYTEST) -m "not slow" && exit $$lint

test-all: setup
	@.ci/lint; lint=$$?; $(PYTEST) && exit $$lint

lint: setup
	@.ci/lint

format: setup
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .
	find firmware_harness -name '*.[ch]' -exec $(BIN)/clang-format -i {} +

setup:
	@.ci/setup
