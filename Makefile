# The commands of whoever uses or works on Shoal. Each does the set-up it needs first; a second run finds it done.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build demo test chaos soak conformance model bench lint format sanitize screenshots clean distclean

help:
	@echo "make demo                   count what is in the standard library's source, with multiprocessing and with Shoal"
	@echo "make test                   build everything and run all tests, the Python ones in every CPython found"
	@echo "make chaos [ONLY=filter]    kill processes at every instruction, and at ten thousand random ones; and workers of a pool"
	@echo "make soak [DURATION=600]    use pools in every way for so many seconds, and see whether anything grows"
	@echo "make conformance            run all of CPython's own tests of multiprocessing, with every start method"
	@echo "make model [ONLY=prefix]    check models of the protocols of queues and locks, in every order of steps, with SPIN"
	@echo "make bench [ONLY=prefix]    measure beside other libraries, into bench/results.json"
	@echo "make lint                   clang-format, clang-tidy, ruff, mypy"
	@echo "make format                 put all code into its format"
	@echo "make sanitize               C++ tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer"
	@echo "make screenshots            make the pictures in docs/images: windows of the examples, on a screen in memory"
	@echo "make build                  build the C++ library, tests, examples and benchmarks into build/dev"
	@echo "make setup                  only install what the others need: Debian packages, .venv"
	@echo "make clean, make distclean  remove what was built; remove .venv too"

setup:
	@scripts/setup

build: setup
	@scripts/build dev

demo: setup
	@scripts/demo

test: setup
	@.venv/bin/python scripts/test.py

chaos: setup
	@scripts/chaos '$(ONLY)'

soak: setup
	@scripts/soak '$(DURATION)'

conformance: setup
	@.venv/bin/python scripts/test.py --only package --only conformance --all-conformance

model: setup
	@.venv/bin/python tests/model/run.py $(ONLY)

bench: setup
	@scripts/bench $(ONLY)

lint: setup
	@scripts/lint

format: setup
	@scripts/format

sanitize: setup
	@scripts/sanitize

screenshots: setup
	@scripts/screenshots

clean:
	rm -rf build dist

distclean: clean
	rm -rf .venv
