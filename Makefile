# One command per purpose; `make` alone lists them. Everything is kept in .venv and build.

VENV    := .venv
PYTHON  := $(VENV)/bin/python
STAMP   := $(VENV)/.ready
WORKERS ?= 2
MINUTES ?= 10

# Tests, benchmarks and the demo start processes by the hundred, which should find the package compiled.
unexport PYTHONDONTWRITEBYTECODE
# How often benchmarks repeat each measurement at most; they have numbers of their own.
export ROUNDS

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench bench-peers scaling large fuzz parity powerloss durability mutants clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## make .venv and install walgraph into it, editable, with what development needs

# The interpreter is the first that is new enough and can make environments; Debian ships ensurepip apart.
# The tests of power loss compile a small library: where there is no C compiler, one is installed from PyPI.
$(STAMP): pyproject.toml
	@set -e; if command -v uv >/dev/null; then \
	    test -x $(PYTHON) || uv venv --quiet --python '>=3.11' $(VENV); \
	    uv pip install --quiet --python $(PYTHON) --editable '.[dev]'; \
	else \
	    for candidate in python3 python3.14 python3.13 python3.12 python3.11 none; do \
	        test $$candidate != none || { echo 'make: no Python 3.11 or newer with venv; install one (Debian: python3-venv), or uv' >&2; exit 1; }; \
	        if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	    done; \
	    test -x $(PYTHON) || $$candidate -m venv $(VENV); \
	    $(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'; \
	fi
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || test "$$(uname)" != Linux || \
	    if command -v uv >/dev/null; then uv pip install --quiet --python $(PYTHON) ziglang; \
	    else $(PYTHON) -m pip install --quiet --disable-pip-version-check ziglang; fi
	@touch $@

demo: setup ## watch a graph be killed and carry on
	$(PYTHON) examples/demo.py

# The benchmark plugin is left out, since it warns when several processes run the tests.
test: check ## everything that must hold: the checks, then all tests
	$(PYTHON) -m pytest -q -n $(WORKERS) -p no:benchmark

# A type checker goes by folder names, and a checkout may be called anything: so it is given a link called walgraph.
check: setup ## format, lint, types, import contracts and our own style rules, without the tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	@mkdir -p build/typing && ln -sfn ../.. build/typing/walgraph
	MYPYPATH=build/typing $(VENV)/bin/mypy -m walgraph -m walgraph.__main__ \
	    -p walgraph.wal -p walgraph.replay -p walgraph.engine -p walgraph.tools
	$(VENV)/bin/lint-imports --no-logo --cache-dir build/imports
	$(PYTHON) -m pytest -q -p no:benchmark tests/test_tidy.py

format: setup ## put the code into shape
	$(VENV)/bin/ruff check --fix-only --quiet .
	$(VENV)/bin/ruff format .

bench: setup ## measure beside the floors, in ROUNDS at most; WRITE=1 puts the tables into the pages
	$(PYTHON) -m pytest bench -q --timeout=0 --benchmark-only --benchmark-storage=file://build/benchmarks
	$(if $(WRITE),$(PYTHON) bench/pages.py)

large: setup ## measure verify, compact, backup, restore and export on a log of RECORDS (1000000)
	$(PYTHON) bench/large_log.py $${RECORDS:-1000000} $${TMPDIR:-/tmp}/walgraph-large

# LangGraph's savers and DBOS have environments of their own, so that nothing else here comes to depend on them. The
# programs of a Postgres server come with pgserver where the system has none; what cannot be had is left out, and said.
PEERS := build/peers
DBOS  := build/dbos
PEERS_PIP := -m pip install --quiet --disable-pip-version-check

$(PEERS)/.ready: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python $(PEERS_PIP) --editable . pydantic 'langgraph==1.2.22' 'langgraph-checkpoint-sqlite>=3,<4' \
	    'langgraph-checkpoint-postgres>=3.2' 'psycopg[binary]>=3.2'
	@command -v postgres >/dev/null || $(PEERS)/bin/python $(PEERS_PIP) pgserver || echo 'no pgserver here: PostgresSaver is left out'
	@touch $@

$(DBOS)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DBOS)
	$(DBOS)/bin/python $(PEERS_PIP) 'dbos==3.4.0' || { rm -rf $(DBOS); echo 'no dbos here: it is left out'; }
	@mkdir -p $(DBOS) && touch $@

bench-peers: setup $(PEERS)/.ready $(DBOS)/.ready ## the same work on LangGraph with its savers and on DBOS; ROUNDS, WRITE=1
	$(PEERS)/bin/python bench/peers.py
	$(if $(WRITE),$(PYTHON) bench/pages.py)

scaling: setup ## fit how the cost of a step grows with steps, threads, nodes and channels
	$(PYTHON) bench/scaling.py

fuzz: setup ## look for crashes and lost records, for MINUTES (10) or WALGRAPH_FUZZ_SECONDS
	WALGRAPH_FUZZ_SECONDS=$${WALGRAPH_FUZZ_SECONDS:-$$(( $(MINUTES) * 60 ))} $(PYTHON) -m pytest tests/fuzz tests/fault_points tests/saver/test_kills.py -q -p no:benchmark --timeout=0

mutants: setup ## make mistakes on purpose, and see that the tests of faults find each; MUTANT="words" picks by name
	PYTHONPATH=tests $(PYTHON) -m mutants.hunt "$${WALGRAPH_MUTANT:-$(MUTANT)}" --at-once $(WORKERS)

powerloss: setup ## lose power at any instant, WALGRAPH_POWERLOSS_IMAGES (2000) times in each workload
	WALGRAPH_POWERLOSS_IMAGES=$${WALGRAPH_POWERLOSS_IMAGES:-2000} $(PYTHON) -m pytest tests/powerloss -q -n $(WORKERS) -p no:benchmark --timeout=0

# The powerloss tests have a number of images for each workload; the rest is done as in `make test`.
durability: setup ## run the tests behind docs/durability.md and the README's table, and write both from their results
	WALGRAPH_EVIDENCE=tests/survival/results.json PYTHONPATH=tests WALGRAPH_DAMAGE_ROUNDS=$${WALGRAPH_DAMAGE_ROUNDS:-250} \
	    WALGRAPH_POWERLOSS_IMAGES=$${WALGRAPH_POWERLOSS_IMAGES:-2000} $(PYTHON) -m survival.pages -q -n $(WORKERS) -p no:benchmark --timeout=0
	WALGRAPH_WRITE_DOCS=1 $(PYTHON) -m pytest tests/test_docs.py -q -p no:benchmark -k generated

parity: setup ## run random graphs on LangGraph and on walgraph, WALGRAPH_PARITY_EXAMPLES (3000) of each kind
	WALGRAPH_PARITY_EXAMPLES=$${WALGRAPH_PARITY_EXAMPLES:-3000} $(PYTHON) -m pytest tests/parity -q -n $(WORKERS) -p no:benchmark --timeout=0

clean: ## remove all that was made here: .venv, build, caches
	rm -rf $(VENV) build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
