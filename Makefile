# Every target runs the set-up (.ci/setup) first, which returns at once when it is up to date.
#   make demo          run the whole chain on synthetic data; DEMO="--data DIR" uses a folder in TAU22 layout
#   make test          run linters and tests;   make test-all  include the slow tests
#   make test-docker   build and test the images of docker/; IMAGES="pi dev" selects; needs docker, podman or buildah
#   make sbom          write bills of materials (CycloneDX) into sbom/, and NOTICE
#   make lint          run the linters;         make format    format the sources

SHELL := /bin/bash
BIN := .venv/bin
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-all test-docker sbom lint format setup

demo: setup
	$(BIN)/tinyscene demo $(DEMO)

# The tests also run when a linter fails, and run last, so that their summary ends the output.
test: setup
	@.ci/lint; lint=$$?; $(PYTEST) -m "not slow" && exit $$lint

test-all: setup
	@.ci/lint; lint=$$?; $(PYTEST) && exit $$lint

test-docker: setup
	$(BIN)/python docker/build.py $(IMAGES)

sbom: setup
	$(BIN)/python docker/sbom.py sbom
	$(BIN)/python docker/notice.py >NOTICE

lint: setup
	@.ci/lint

format: setup
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .
	find firmware_harness -name '*.[ch]' -exec $(BIN)/clang-format -i {} +

setup:
	@.ci/setup
