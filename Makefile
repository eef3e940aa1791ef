# One short command for each wish; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2
EXAMPLE := examples/quickstart/model-compose.yml
QUESTION := Explain quantum computing in simple terms.

.DEFAULT_GOAL := help
.PHONY: help quickstart down test soak check lint format bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.venv/installed: pyproject.toml infra/requirements/*.txt compose/bin/model-compose
	rm -rf build
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --constraint infra/requirements/constraints.txt --progress-bar off --quiet --editable .
	@touch $@

.venv/tools: .venv/installed
	$(BIN)/python -m pip install --constraint infra/requirements/constraints.txt --progress-bar off --quiet --group dev
	@touch $@

# An environment of its own: it wants other versions of what we have ourselves.
.venv/checkov/installed: tests/infra/kubernetes/checkov.txt
	$(PYTHON) -m venv --clear .venv/checkov
	.venv/checkov/bin/python -m pip install --progress-bar off --quiet --requirement $<
	@touch $@

quickstart: .venv/installed ## set up, start the bundled model, ask it one question; may be repeated
	@$(BIN)/model-compose -f $(EXAMPLE) ps >/dev/null 2>&1 || $(BIN)/model-compose -f $(EXAMPLE) up --detach
	@echo
	@echo 'You:   $(QUESTION)'
	@printf 'Model: '
	@curl --fail-with-body --silent --show-error http://localhost:$${PORT:-8080}/api/workflows/runs \
		--header 'Content-Type: application/json' \
		--data '{"input": {"user_prompt": "$(QUESTION)"}}' \
		| $(BIN)/python -c 'import json, sys; print(json.load(sys.stdin)["output"]["generated"])'
	@echo
	@echo "API:   http://localhost:$${PORT:-8080}/api"
	@echo "Page:  http://localhost:$${PAGE_PORT:-8081}"
	@echo 'Stop it with: make down'

down: ## stop what quickstart started
	@$(BIN)/model-compose -f $(EXAMPLE) down

# They wait about as much as they compute, hence one process more than cores. Bytecode is kept, even where
# PYTHONDONTWRITEBYTECODE is set: hundreds of processes read the same modules.
TESTING := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses $$(($(JOBS) + 1)) --dist loadfile \
	--no-loadscope-reorder --durations 20

test: .venv/tools .venv/checkov/installed ## all tests but the soak ones, under 15 minutes on two cores
	$(TESTING) -m 'not soak and not docker'
	@# by themselves: tests that measure time would feel the builds of images
	$(TESTING) -m 'docker and not soak' tests/conformance tests/docker tests/e2e tests/kube

soak: .venv/tools ## the same properties in full size
	$(BIN)/python -m pytest -m soak

check: .venv/tools ## style, types, import rules, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m compose.schema --check

format: .venv/tools ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/tools .venv/checkov/installed ## measure against other tools, side by side, and write docs/performance.md
	$(BIN)/python -m benchmarks.peers.environments
	$(BIN)/python -m benchmarks

clean: ## remove what was built here
	rm -rf build .venv *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis test-results
