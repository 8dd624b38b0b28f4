# Every target works on a fresh clone: it makes .venv and installs what it needs.
# CI calls these same targets (.ci/run).

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
HOST   ?= 127.0.0.1
PORT   ?= 5555
ARGS   ?=
JOBS   ?= 3
SEED   ?= 3
FAULTS ?= 210
SECONDS ?= 60
TARGET ?= all
SCALE  ?= 5

.PHONY: run test check man bench bench-peers bench-here bench-peers-here torture fuzz hostile screens clean help

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/  /'

# One stamp per set of dependencies: `make run` installs no test tools.
$(VENV)/.run: pyproject.toml
	@$(PYTHON) -c 'import sys; v = "%d.%d" % sys.version_info[:2]; sys.exit(0 if sys.version_info >= (3, 11) else "chatbroker needs Python 3.11 or newer; %s is %s. Try: make PYTHON=python3.11 ..." % (sys.executable, v))'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.fuzz: pyproject.toml $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	@touch $@

$(VENV)/.bench: pyproject.toml $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

run: $(VENV)/.run     ## install, start the broker in the foreground   [PORT=5555 HOST=127.0.0.1]
	@$(BIN)/python -c 'import shlex, sys; print("In another terminal: ", shlex.join(sys.argv[1:]))' \
	    "$(CURDIR)/$(BIN)/chat" join alice --port $(PORT) >&2
	@exec $(BIN)/chatbroker run --host $(HOST) --port $(PORT) $(ARGS)

# A file stays with one process, in its order: brokers are shared, and attacks do not add up.
test: $(VENV)/.dev    ## install what the tests need, run all of them  [ARGS=-x JOBS=3]
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev   ## style (ruff), types (mypy --strict), docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p build/types/chatbroker
	@for p in wire broker client command testing; do ln -sfn $(CURDIR)/$$p build/types/chatbroker/$$p; done
	@for p in examples bench; do ln -sfn $(CURDIR)/$$p build/types/$$p; done
	MYPYPATH=build/types $(BIN)/mypy --namespace-packages --explicit-package-bases -p chatbroker -p examples -p bench
	$(BIN)/python -m pytest -q tests/test_docs.py tests/test_layout.py

man: $(VENV)/.run     ## write the man pages to build/man
	@rm -rf build/man
	$(BIN)/python -m chatbroker.command.manual build/man

torture: $(VENV)/.dev  ## faults for minutes: nothing acknowledged may be lost  [SEED= FAULTS=210]
	CHATBROKER_SEED=$(SEED) CHATBROKER_FAULTS=$(FAULTS) CHATBROKER_MESSAGES=1000000 \
	CHATBROKER_TORTURE=1 $(BIN)/python -m pytest -s --timeout 1800 \
	tests/torture tests/broker/test_crash_points.py $(ARGS)

fuzz: $(VENV)/.fuzz   ## look for inputs that break something  [TARGET=all SECONDS=60 SEED=]
	$(BIN)/python -m tests.fuzz $(TARGET) --seconds $(SECONDS) $(if $(filter command line environment,$(origin SEED)),--seed $(SEED)) $(ARGS)

hostile: $(VENV)/.dev  ## attacks on a broker, with their figures as a table  [SCALE=5]
	@cd tests && HOSTILE_SCALE=$(SCALE) PYTHONPATH=$(CURDIR) $(abspath $(BIN))/python -m hostile $(ARGS)

# What is measured runs on the system's Python, which is built with optimisation as the servers beside
# it are, if there is one that can make a venv.  PYTHON= chooses another.
SYSTEM := /usr/bin/python3
MEASURED = $(if $(filter file,$(origin PYTHON)),$(shell \
  $(SYSTEM) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && echo PYTHON=$(SYSTEM) VENV=$(VENV)/system))

bench:           ## measure core and broker beside a plain pyzmq forwarder
	@$(MAKE) --no-print-directory bench-here $(MEASURED)

bench-peers:     ## measure the broker beside nats-server, redis-server, mosquitto, …
	@$(MAKE) --no-print-directory bench-peers-here $(MEASURED)

bench-here: $(VENV)/.dev
	$(BIN)/python -m bench $(ARGS)

bench-peers-here: $(VENV)/.bench
	$(BIN)/python -m bench.peers $(ARGS)

screens: $(VENV)/.dev  ## make the pictures of docs/screens from the real program
	$(BIN)/python tests/screens.py

clean:           ## remove what the other targets made
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
