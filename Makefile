# Every target sees to its own set-up first (.ci/setup), which takes no time when there is nothing to do.
#   make demo       the whole chain on data it makes itself; DEMO="--data DIR" runs it on a TAU22-layout folder
#   make test       linters and the test suite;  make test-all  with the slow tests too
#   make test-docker   build the images of docker/ and try each, or IMAGES="pi dev"; takes docker, podman or buildah
#   make lint       linters only;                make format    rewrite the sources as the linters want them

SHELL := /bin/bash
BIN := .venv/bin
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-all test-docker lint format setup

demo: setup
	$(BIN)/tinyscene demo $(DEMO)

# The tests run even when a linter complains, and come last, so that their summary closes the output.
test: setup
	@.ci/lint; lint=$$?; $(PYTEST) -m "not slow" && exit $$lint

test-all: setup
	@.ci/lint; lint=$$?; $(PYTEST) && exit $$lint

test-docker: setup
	$(BIN)/python docker/build.py $(IMAGES)

lint: setup
	@.ci/lint

format: setup
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .
	find firmware_harness -name '*.[ch]' -exec $(BIN)/clang-format -i {} +

setup:
	@.ci/setup
