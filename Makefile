# Everything goes through .venv, which `make setup` builds from nothing.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: help setup demo test lint fast slow bench docs wheel lock clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

setup:  ## build or update .venv (seconds when nothing changed)
	@$(PYTHON) tools/bootstrap.py

demo: setup  ## the main job: every recipe at laptop scale, then where the report lies
	@$(BIN)/septet reproduce all --scale laptop --fetch

test: lint fast  ## what CI runs: format, lint, types, layers, fast tests

lint: setup
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/codespell src tests tools benchmarks docs examples README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md
	@$(BIN)/pyrefly check --output-format=min-text --summary=none
	@$(BIN)/lint-imports --no-logo > .venv/layers.log || { cat .venv/layers.log; exit 1; }

fast: setup
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

slow: setup  ## the tests that take minutes
	@$(BIN)/python -m pytest -q -m slow

bench: setup  ## every side-by-side comparison
	@$(PYTHON) tools/bootstrap.py dev bench
	@$(BIN)/septet bench all

docs: setup  ## the documentation site, warnings as errors
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

wheel: setup  ## build the wheel, install it into an empty environment, run the smoke recipes there
	@$(BIN)/python tools/try_wheel.py

lock: | $(BIN)/uv  ## resolve every dependency anew into constraints.txt
	@$(BIN)/python tools/lock.py

$(BIN)/uv:
	@$(PYTHON) tools/bootstrap.py

clean:  ## remove what the commands above made
	rm -rf .venv dist build docs/_build runs .pytest_cache .ruff_cache .hypothesis
	find src -name '*.nb[ic]' -delete
