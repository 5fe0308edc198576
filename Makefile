# Works on a fresh Debian with python3 and make; what else is needed, setup.sh installs as root.

PYTHON ?= python3
VENV := .venv/bin
# How many times as many examples `make fuzz` draws as `make test`.
FUZZ ?= 45
# How many seconds `make soak` traces, and then some minutes more.
SOAK ?= 3600

.PHONY: help demo test lint format grammar bench fuzz soak pictures clean packages environment

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

demo: ## boot a real kernel in QEMU and trace UDP datagrams in it
	@tests/kernel/setup.sh demo
	@$(PYTHON) -m tests.kernel.environment
	@$(VENV)/python -m tests.kernel.demo

test: lint ## lint, then all tests, also on four real kernels
	$(VENV)/pytest -n 2 --dist loadgroup

lint: environment ## ruff format --check, ruff check, mypy --strict
	$(VENV)/ruff format --check
	$(VENV)/ruff check
	$(VENV)/mypy

format: environment ## ruff format, and what ruff check can fix
	$(VENV)/ruff format
	$(VENV)/ruff check --fix

grammar: environment ## make the parser's tables anew after a change of grammar/probe.lark
	$(VENV)/python -m surftrace.lang.tables grammar/tables.py

bench: environment ## measure: compiling, beside perf probe; what guards cost a hit
	$(VENV)/python -m tests.bench
	$(VENV)/python -m tests.bench.guards

fuzz: environment ## draw many more probes and damaged files than make test does: 10 minutes, FUZZ=200 for longer
	SURFTRACE_FUZZ_FACTOR=$(FUZZ) $(VENV)/pytest -n 2 --dist worksteal tests/fuzz tests/btf/test_damage.py

soak: environment ## trace for an hour, SOAK=600 for less; twenty traces at once; a kill after each write, on 5.10 too
	SURFTRACE_SOAK_S=$(SOAK) $(VENV)/pytest -s tests/live/test_soak.py tests/live/test_crowd.py \
		tests/live/test_cleanup.py::test_killed_at_every_write

pictures: environment ## draw the pictures of the documentation anew, from what runs in a real kernel
	$(VENV)/python -m tests.kernel.pictures

clean: ## remove what these commands made, but for the cache folder
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

environment: packages
	@$(PYTHON) -m tests.kernel.environment dev

packages:
	@tests/kernel/setup.sh test
