# make demo and make test need Python 3.11 or later and make, nothing else. PYTHON=... names the Python to use;
# ARGS=... is handed to the program behind a target, as in: make test ARGS="tests/strategies -k canary".
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check chaos bench peers cluster conformance clients deploy lock clean

PYTHON ?=
export PYTHON

# Servers to measure beside ours. One that cannot be installed here is left out, with a warning.
PEERS ?= mlserver kserve bentoml litserve ray-serve

ENVIRONMENT := @sh scripts/venv.sh
BIN := .venv/bin

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## serve real models under every strategy and show what happens
	$(ENVIRONMENT) .venv core build turnout
	@$(BIN)/python examples/demo $(ARGS)

test: ## run all tests
	$(ENVIRONMENT) .venv dev turnout
	@$(BIN)/python -m pytest -n 2 $(ARGS)

check: ## lint, format, types, and which package may import which
	$(ENVIRONMENT) .venv dev turnout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

chaos: ## rollouts that go wrong, a hundred thousand requests that fail, as many damaged ones, a thousand changes under load, a hundred deaths
	$(ENVIRONMENT) .venv dev turnout
	@TURNOUT_CHAOS_REQUESTS=100000 TURNOUT_CHAOS_CHANGES=1000 TURNOUT_CHAOS_DEATHS=100 \
		$(BIN)/python -m pytest tests/chaos --timeout 900 $(ARGS)

bench: peers ## measure throughput and latency beside the floor and other servers; ARGS=--full takes all of it
	$(ENVIRONMENT) .venv dev turnout
	@$(BIN)/python benchmarks/run.py $(ARGS)

conformance: clients ## let stock clients ask every kind of model under every strategy
	$(ENVIRONMENT) .venv dev turnout
	@$(BIN)/python -m pytest tests/conformance $(ARGS)

cluster: ## serve arms on a local Ray of this machine under every strategy
	$(ENVIRONMENT) .venv dev turnout
	@$(BIN)/python -m pytest tests/cluster --timeout 900 $(ARGS)

deploy: ## hold the manifests to published schemas, and carry the Dockerfile out
	$(ENVIRONMENT) .venv dev turnout
	$(ENVIRONMENT) .venv-deploy deploy
	@$(BIN)/python -m pytest tests/deploy $(ARGS)

clients: ## make .venv-clients and others like it, which hold stock clients, a stock server and a fuzzer
	$(ENVIRONMENT) .venv-clients clients
	$(ENVIRONMENT) .venv-kserve kserve
	$(ENVIRONMENT) .venv-mlserver mlserver
	$(ENVIRONMENT) .venv-fuzz fuzz

lock: ## write requirements/*.txt anew from pyproject.toml; UPGRADE=1 takes newer versions
	$(ENVIRONMENT) .venv-lock uv
	@UPGRADE=$(UPGRADE) sh scripts/lock.sh

peers: ## make .venv-bentoml and others like it, which hold servers to measure beside ours
	@for name in $(PEERS); do sh scripts/venv.sh .venv-$$name $$name || \
		echo "turnout: warning: .venv-$$name could not be made, so that server will not be measured" >&2; done

clean: ## remove caches and build products; environments stay
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -path './.venv*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
