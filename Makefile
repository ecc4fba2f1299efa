# Few targets; `make help` lists them. Everything works from a fresh clone on Debian 12, as root or with sudo.
SHELL := /bin/bash
VENV  := .venv
BIN   := $(VENV)/bin
SUDO  := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=CI,TERM,NO_COLOR)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/runtime ## Three simulated sites from a CSV to running clusters, then leave them up
	@$(SUDO) .ci/demo up

.PHONY: demo-down
demo-down: ## End the demo: console, sites, state
	@$(SUDO) .ci/demo down

.PHONY: test
test: $(VENV)/development ## Install what the tests need and run them all
	$(SUDO) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: test-exhaustive
test-exhaustive: $(VENV)/development ## Only the long forms: a thousand kills, ten minutes cut off; takes hours
	$(SUDO) $(BIN)/pytest -m exhaustive $(PYTEST_ARGS)

.PHONY: test-unit
test-unit: $(VENV)/development ## Only the tests that take milliseconds and need no root
	$(BIN)/pytest tests/unit

.PHONY: lint
lint: $(VENV)/development ## Everything that reads the code without running it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/yamllint .
	cd playbooks && PATH=$(CURDIR)/$(BIN):$$PATH ansible-lint --offline -q

.PHONY: bench
bench: $(VENV)/development ## Every benchmark; writes docs/benchmarks.md (PARTS="probe idle": only these; QUICK=1: a trial)
	$(SUDO) $(BIN)/python tests/scale/bench.py $(PARTS) $(if $(QUICK),--quick)

.PHONY: bench-bootstrap
bench-bootstrap: $(VENV)/development ## Only the part on bootstrapping many sites
	$(SUDO) $(BIN)/python tests/scale/bench.py bootstrap

.PHONY: bench-stage
bench-stage: $(VENV)/development ## Only the part on staging over a bad link (QUICK=1: a trial)
	$(SUDO) $(BIN)/python tests/scale/bench.py stage $(if $(QUICK),--quick)

.PHONY: lock
lock: ## Write the locked requirements anew (needs uv)
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile -q --python-version 3.11 --universal --generate-hashes \
	  --no-emit-index-url pyproject.toml --extra postgresql --group build -o requirements.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile -q --python-version 3.11 --universal --generate-hashes \
	  --no-emit-index-url pyproject.toml --extra postgresql --group build --group dev -c requirements.txt \
	  -o requirements-dev.txt

.PHONY: clean
clean: ## Remove what was built here (not the lab: `make demo-down`)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamps say what is installed: runtime for the demo, development for everything.
$(VENV)/runtime: requirements.txt pyproject.toml
	.ci/install-packages demo
	.ci/install-venv $(VENV) requirements.txt
	@touch $@

$(VENV)/development: requirements-dev.txt pyproject.toml
	.ci/install-packages test
	.ci/install-venv $(VENV) requirements-dev.txt
	@touch $@ $(VENV)/runtime
