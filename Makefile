# Every target runs the set-up (.ci/setup) first, which returns at once when it is up to date.
#   APT=0 make ...     print the system packages instead of installing them
#   make demo          run the whole chain on synthetic data; DEMO="--data DIR" uses a folder in TAU22 layout
#   make test          run linters and tests;   make test-all  include the slow tests
#   make faults        commands while system calls fail or processes are ended; FAULTS="calls --most 20" selects
#   make test-docker   build and test the images of docker/; IMAGES="pi dev" selects; needs docker, podman or buildah
#   make fuzz          fuzz the readers; FUZZ="--reader tflite --executions 1000" selects
#   make sbom          write bills of materials (CycloneDX) into sbom/, and NOTICE
#   make lint          run the linters;         make format    format the sources

SHELL := /bin/bash
BIN := .venv/bin
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-all faults fuzz test-docker sbom lint format setup

demo: setup
	$(BIN)/tinyscene demo $(DEMO)

# The tests also run when a linter fails, and run last, so that their summary ends the output.
test: setup
	@.ci/lint; lint=$$?; $(PYTEST) -m "not slow" && exit $$lint

test-all: setup
	@.ci/lint; lint=$$?; $(PYTEST) && exit $$lint

faults: setup
	$(BIN)/python -m tests.faults $(FAULTS)

test-docker: setup
	$(BIN)/python docker/build.py $(IMAGES)

fuzz: setup
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
	    $(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement docker/locks/fuzz.txt
	$(BIN)/python -m tests.fuzz $(FUZZ)

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
