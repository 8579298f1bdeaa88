# make demo: the main job; make test: the suite; make test-all: with every slow compilation too;
# make check: style, types, house rules; make format, make api: renew what they check.
# Each makes the environment it needs in .venv, with the versions of constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
PYTEST = $(BIN)/pytest --numprocesses auto
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test test-all check format api clean
help:
	@sed -n '1,3s/^# //p' Makefile

demo: .venv/demo.stamp
	$(BIN)/stn demo --out runs/demo

test-all: ALL = --all
test test-all: .venv/dev.stamp
	$(PYTEST) --typed --table
	$(PYTEST) -m traced --table $(ALL)

check: .venv/dev.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pytest --quiet tests/test_house.py

format: .venv/dev.stamp
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

api: .venv/dev.stamp
	$(BIN)/python tests/test_house.py

clean:
	rm -rf .venv runs

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) --editable '.[experiments]'
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) --editable '.[dev]'
	@touch $@ .venv/demo.stamp
