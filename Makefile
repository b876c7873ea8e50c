# Two commands: `make demo` shows a push from end to end, `make test` runs every test. Both set themselves up.
# Needs git, make and Python 3.11 or newer with venv; nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# uv does not read pip's own variables: an operator's wheels and certificates are passed on to it.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

TARGET ?= process

.PHONY: setup demo test check lint types imports unit golden bench bench-images lock clean

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "algopush needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "this Python has no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@command -v git >/dev/null || { echo "git is missing; on Debian and Ubuntu: apt-get install git"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	grep -A1 '^uv==' requirements.lock | tr -d '\\' | head -1 | cut -d';' -f1 | xargs $(BIN)/python -m pip install -q
	$(BIN)/uv pip install -q -p $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install -q -p $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

# KEEP=1 make demo leaves the server running and prints its address and token.
# TARGET=docker make demo runs the model in containers, with an engine of the demo's own where none is reachable.
demo: $(STAMP)
	TARGET=$(TARGET) $(BIN)/python examples/demo.py

# The walls (format, lint, types, import contracts) are tests, too, and the quickest to fail.
# Everything runs with processes, then the whole way once more with containers, but for what cannot differ there. A
# machine without an engine is told so in a sentence instead; where CI is set, what is missing is installed, and nothing
# may be left out.
test: $(STAMP) lint types imports
	$(BIN)/python -m pytest $(PYTEST_ARGS)
	ALGO_TEST_TARGET=docker $(BIN)/python -m pytest $(PYTEST_ARGS) -m "not once" tests/e2e

# What a developer runs before each commit: seconds, not minutes.
check: $(STAMP) lint types imports unit

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/python -m pytest -q tests/unit tests/golden

# After a change of words or of the API that is meant: write what they are now, then read the diff.
golden: $(STAMP)
	$(BIN)/python -m pytest -q tests/golden --update-golden
	git diff --stat tests/golden

bench: $(STAMP)
	$(BIN)/python benchmarks/push.py

# The same for images: needs root, a Docker engine and mmdebstrap, as the tests on containers do.
bench-images: $(STAMP)
	$(BIN)/python benchmarks/images.py
	$(BIN)/python benchmarks/registry.py

# Names, versions and hashes; no addresses, so that the file works with any index.
lock: $(STAMP)
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
