# Everything here works on a fresh checkout with nothing installed but Python 3.11+ and the system's package manager.
# Each target sets up what it needs, once, in .venv. Most tests wait more than they compute: so there are more of them at
# once than cores.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
BIN := .venv/bin
# What tests store lies in memory where there is room: that a disk may take seconds is none of what they show.
SCRATCH := $(shell df -Pk /dev/shm 2>/dev/null | awk 'END { if ($$4 > 4000000) print "TMPDIR=/dev/shm" }')

.PHONY: help demo test quick soak bench lint fix proto docs pictures docs-serve clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

demo: .venv/ready-demo  ## a live app that shows the engine, in a browser
	$(BIN)/sojourn demo

test: .venv/ready-test browser servers  ## every test but the soak (some 20 minutes on 2 cores)
	$(SCRATCH) $(BIN)/pytest -n 3 -m 'not battery'
	$(SCRATCH) $(BIN)/pytest -n 3 -m 'battery and not soak'

quick: .venv/ready-test  ## the tests that one runs all day (under a minute): the engine and the state, in memory and in files
	$(SCRATCH) $(BIN)/pytest -n 3 -m 'not battery' -k 'not valkey and not redis and not postgres and not cluster' \
		tests/state $(filter-out tests/test_docs%,$(wildcard tests/test_*.py))

soak: .venv/ready-test browser servers  ## longer batteries: twenty times the examples, a million sessions, spoiled lines, then five rounds of kills and races
	HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -n 2 tests/test_merge.py tests/test_codec.py tests/test_session.py tests/test_stateful.py
	$(BIN)/pytest -m soak
	for round in 1 2 3 4 5; do $(BIN)/pytest -m 'battery and not soak' tests/promises || exit 1; done

bench: .venv/ready-bench browser servers  ## figures: the floor and the peers in the same run
	@sh tools/wrk.sh
	$(BIN)/python -m bench

lint: .venv/ready-test .venv/ready-docs  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: .venv/ready-test  ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto:  ## the Python code of the .proto file, after a change to it
	@sh tools/proto.sh

docs: .venv/ready-docs  ## the documentation, as a site in site/
	$(BIN)/mkdocs build --strict

pictures: .venv/ready-test browser  ## the pictures of the dashboard in docs/pictures, after a change of its looks
	PYTHONPATH=tests:tests/live:tests/admin $(BIN)/python tools/pictures.py

docs-serve: .venv/ready-docs  ## the documentation, while you write it
	$(BIN)/mkdocs serve

clean:  ## away with what was set up and built
	rm -rf .venv site dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: browser
browser:
	@sh tools/browser.sh

.PHONY: servers
servers: .venv/ready
	@sh tools/servers.sh

.venv/ready: pyproject.toml
	@sh tools/venv.sh '$(PYTHON)'
	@touch $@

.venv/ready-demo: .venv/ready
	$(BIN)/pip install --quiet --constraint tools/constraints.txt --editable '.[demo]'
	@touch $@

.venv/ready-test: .venv/ready tools/test.txt tools/constraints.txt
	$(BIN)/pip install --quiet --constraint tools/constraints.txt --editable '.[all]' --requirement tools/test.txt
	@touch $@

.venv/ready-bench: .venv/ready bench/requirements.txt tools/constraints.txt
	$(BIN)/pip install --quiet --constraint tools/constraints.txt --editable '.[all]' --requirement bench/requirements.txt
	@touch $@

.venv/ready-docs: .venv/ready tools/docs.txt tools/constraints.txt
	$(BIN)/pip install --quiet --constraint tools/constraints.txt --requirement tools/docs.txt
	@touch $@
