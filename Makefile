# Everything here is a line or two; the rest is in tools/.

PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)

export PYTHONDONTWRITEBYTECODE = 1

# Two parts of the tests run at a time, since each mostly waits for one process; the longest begin. By whole lines each.
LONGEST := tests/systemd tests/unit
PARTS := $(LONGEST) $(filter-out $(LONGEST),$(patsubst %/,%,$(sort $(dir $(wildcard tests/*/test_*.py)))))

.DEFAULT_GOAL := help
.PHONY: help demo test unit lint rig venv install uninstall install-user uninstall-user deb clean $(PARTS)

help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

demo: ## from nothing to tokens of a real model, on systemd, and back to nothing
	@tools/demo

test: venv ## install what tests need, then run linters, unit tests and the tests on systemd hosts
	@tools/packages rig lint nix deb
	@$(MAKE) --no-print-directory --jobs=2 --keep-going $(PARTS)

$(PARTS):
	@bash -o pipefail -c 'MAKEFLAGS= .venv/bin/python -m pytest $@ | grep --line-buffered ""'

unit: venv ## the tests that need neither root nor systemd
	@.venv/bin/python -m pytest tests/unit

lint: venv ## types, style and import layers
	@tools/packages lint
	@.venv/bin/python -m pytest tests/unit/test_linters.py

rig: ## a shell beside three systemd hosts: blep, workstation, mac
	@tools/packages build rig
	@$(PYTHON) -m tests.rig

venv: # .venv, with rbee editable
	@tools/packages build
	@$(PYTHON) -m tools.venv

install: ## for the whole machine, sockets enabled; PREFIX and DESTDIR as everywhere
	@tools/packages build
	@$(PYTHON) -m tools.install install '$(PREFIX)' '$(DESTDIR)'

uninstall: ## take away what install put there; configuration and state stay
	@$(PYTHON) -m tools.install uninstall '$(PREFIX)' '$(DESTDIR)'

install-user: ## for you alone, in ~/.local, without root
	@tools/packages build
	@$(PYTHON) -m tools.install install-user

uninstall-user: ## take that away again
	@$(PYTHON) -m tools.install uninstall-user

deb: ## a Debian package of it, in build/
	@tools/packages build deb
	@$(PYTHON) -m tools.deb

clean: ## remove what was built in this checkout
	rm -rf .venv .demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
