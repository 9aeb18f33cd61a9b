# make up     set up everything, start a three-node cluster       make down   stop it
# make test   set up everything, run all tests                    make lint   ruff, mypy, import contracts
# make bench  measure speed beside its limits
# make vagrant-up, vagrant-test, vagrant-down   the same cluster on virtual machines; see vagrant/Vagrantfile
SHELL := /bin/bash
ROOT  := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
BIN   := .venv/bin
export PATH := $(PATH):/usr/sbin:/sbin# which a plain su leaves out

# All tests run in three workers, as they wait more than they compute; a worker is given one file after another.
ALL   := --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: up down test lint bench clean vagrant-up vagrant-test vagrant-down
up:
	@./setup.sh run
	@$(ROOT) $(BIN)/shim up $(ARGS)

down:
	@./setup.sh run
	@$(ROOT) $(BIN)/shim down $(ARGS)

test:
	@./setup.sh dev
	@$(ROOT) $(BIN)/python -m pytest $(or $(ARGS),$(ALL))
	@echo "All passed. Next: make lint, or make up and try the README's example."

lint:
	@./setup.sh dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench:
	@./setup.sh dev
	@$(ROOT) $(BIN)/python -m e2e.bench $(ARGS)

vagrant-up:
	@vagrant/cluster.sh up

vagrant-test:
	@./setup.sh dev
	@$(BIN)/python -m pytest vagrant/tests $(ARGS)

vagrant-down:
	@vagrant/cluster.sh down

clean:
	@$(ROOT) rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@$(ROOT) find shim nodeagent netproxy e2e -name __pycache__ -prune -exec rm -rf {} +
