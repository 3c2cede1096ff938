# make help   says what there is
PYTHON ?= python3
VENV := .venv
TOX := $(VENV)/bin/tox

.DEFAULT_GOAL := help

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo ## a real client against a fleet that crashes; about 25 s, and a minute the first time
	@$(VENV)/demo-env/bin/python -m simulator demo

test: $(TOX) ## tests but the long ones, style and types; about 5 min on two cores, and 2 more the first time
	@$(TOX) run-parallel --parallel 2 -e py,browser,lint,types -- -m "not long"

check: $(TOX) ## everything that CI checks: long simulations, every Scrapy, the official SDK, docs; 15 min
	@$(TOX) run-parallel --parallel 2

lint: $(TOX) ## style, dependencies between modules, types
	@$(TOX) run -e lint,types

bench: $(TOX) ## our CPU per request beside the peers'; needs nginx
	@$(TOX) run -e bench

docs: $(TOX) ## the documentation, into docs/_build
	@$(TOX) run -e docs

pictures: $(TOX) ## the pictures of README and docs, from the demo and the page; needs Chromium
	@$(TOX) run -e pictures

clean: ## remove what make has made
	rm -rf $(VENV) .tox docs/_build dist

# A private environment; without the venv module tox comes into user space, and without pip one line says what to install.
$(TOX): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "eas_tw needs Python 3.11 or newer; say which: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@if $(PYTHON) -m venv $(VENV) >/dev/null 2>&1; then $(VENV)/bin/pip install --quiet tox; \
	 elif $(PYTHON) -m pip install --quiet --user tox; then \
	   mkdir -p $(VENV)/bin && printf '#!/bin/sh\nexec $(PYTHON) -m tox "$$@"\n' > $@ && chmod +x $@; \
	 else echo "neither venv nor pip works with $(PYTHON); on Debian: apt-get install python3-venv"; exit 1; fi
	@touch $@

$(VENV)/demo: $(TOX)
	@echo "preparing the demo (once) …"
	@$(TOX) devenv --quiet -e demo $(VENV)/demo-env >/dev/null
	@touch $@

.PHONY: help demo test check lint bench docs pictures clean
