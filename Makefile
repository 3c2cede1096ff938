# make help   lists the targets
PYTHON ?= python3
VENV := .venv
TOX := $(VENV)/bin/tox

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo ## run a real client against a fleet that crashes; about 25 s, and a minute the first time
	@$(VENV)/demo-env/bin/python -m simulator demo

test: $(TOX) ## run style, types and all tests but the long ones; 4 to 9 min on two cores, and 2 more the first time
	@$(TOX) run-parallel --parallel 2 -e py,browser,lint,types -- -m "not long"

check: $(TOX) ## run everything that CI runs: also long simulations, Scrapy, the official SDK, docs; 15 min
	@$(TOX) run-parallel --parallel 2

lint: $(TOX) ## check style, dependencies between modules, types
	@$(TOX) run -e lint,types

bench: $(TOX) ## measure CPU per request of this client and of others; needs nginx
	@$(TOX) run -e bench

docs: $(TOX) ## build the documentation in docs/_build
	@$(TOX) run -e docs

pictures: $(TOX) ## make the pictures of README and docs from the demo and the dashboard; needs Chromium
	@$(TOX) run -e pictures

clean: ## remove the files that make has created
	rm -rf $(VENV) .tox docs/_build dist

# tox in a private environment. Without the venv module it is installed for the user; without pip, an error names the
# package to install.
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
