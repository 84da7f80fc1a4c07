# Two commands: `make demo` and `make test`. Both make their own environment in .venv.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
TWIN ?= build/demo-twin
PORT ?= 8000
# Files of tests that run at once; each worker builds a town of its own. One that crashes ends the run: pytest-xdist can
# wait for ever for one that took its place.
TEST_WORKERS ?= 2

.PHONY: demo test bench lint env viewer clients clean lock

demo: env viewer
	$(BIN)/citytwin demo --twin $(TWIN) --port $(PORT)

test: env viewer clients lint
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --max-worker-restart 0

bench: env
	$(BIN)/python -m pytest tests/bench -m bench -s --benchmark-columns=min,median,rounds --benchmark-sort=name

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

env: $(VENV)/.complete

$(VENV)/.complete: requirements.lock pyproject.toml .ci/find-python
	@python=$$(.ci/find-python) && { [ -x $(BIN)/python ] || "$$python" -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

viewer: env
	$(BIN)/python -m server.viewer

clients: env
	.ci/clients
	for folder in tests/tiles tests/tiles/style_spec tests/clients; do \
	  PATH="$(CURDIR)/$(BIN):$$PATH" npm install --prefix $$folder --no-package-lock --no-audit --no-fund --silent \
	    || echo "Not installed, so its tests are skipped: $$folder/package.json" >&2; \
	done

# Pins what is installed now; run after changing the dependencies in pyproject.toml.
lock: env
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/python -m pip freeze --exclude-editable > requirements.lock

clean:
	rm -rf $(VENV) build server/viewer/dist server/viewer/node_modules
