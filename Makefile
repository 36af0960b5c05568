# Everything from a bare machine with Python 3.11 (or newer) and make, as root or not. `make` lists what there is.

# The first Python here that is new enough; failing that, any, so that the refusal can name it.
IS_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(IS_ENOUGH)' 2>/dev/null && echo $$python && exit; done; command -v python3)
endif
TEST_PROCESSES ?= 2
BIN := .venv/bin
READY := .venv/ready
PEERS := .venv/peers/ready

.PHONY: help install demo test check up down bench bench-memory bench-growth soak chaos browser compose-tool clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(READY) ## create .venv with everything in it, at the versions of constraints.txt

demo: $(READY) ## five weeks of reminders through the true fleet, against the sandbox, in about a minute
	$(BIN)/duly demo

up: $(READY) ## run the whole system here until Ctrl-C
	$(BIN)/duly up

down: $(READY) ## stop what is left running: the embedded engines
	$(BIN)/duly down

test: $(READY) browser compose-tool ## run all tests
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist worksteal

check: $(READY) ## lint, formatting, types and the words
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/duly templates check

bench: $(PEERS) ## measure, beside what it is compared to, in one run (bench/results/latest.json); BENCH="dispatch limit" for some
	$(BIN)/python -m bench $(BENCH)

bench-memory: $(PEERS) ## a worker's memory over a million reminders, recycling off
	$(BIN)/python -m bench memory-million

bench-growth: $(PEERS) ## the cost of a reminder up to ten million open ones, as far as the disk allows; MOST=1000000 for less
	$(BIN)/python -m bench growth $(if $(MOST),--most $(MOST))

soak: $(PEERS) ## an hour with more due than can be sent: what should stay flat; MINUTES=2 for a glance
	$(BIN)/python -m bench soak $(if $(MINUTES),--minutes $(MINUTES))

chaos: $(READY) ## harm a true fleet in every way we know; MINUTES=30 [SEED=1] for a storm of random faults (docs/chaos.md)
	$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(ROUND),--round $(ROUND))

clean: ## remove what was built; .duly (the data) stays
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis bench/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python whose venv module is split off (Debian, Ubuntu) is completed where that is allowed, and named where not.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: there is no Python here: install Python 3.11 or newer, or say make PYTHON=/path/to/it"; exit 1; }
	@$(PYTHON) -c '$(IS_ENOUGH)' \
		|| { echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1), and duly needs 3.11 or newer: say make PYTHON=/path/to/it"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q \
			&& apt-get install -y -q --no-install-recommends "$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; } \
		|| { echo "make: $(PYTHON) comes without its venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || { rm -rf .venv && $(PYTHON) -m venv .venv; }
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

# Some tests read pages in a real browser. Where there is none and none can be installed, they say that they were not run.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
			&& apt-get install -y -q --no-install-recommends chromium fonts-noto-cjk >/dev/null 2>&1; } \
		|| echo "make: Chromium is not here and cannot be installed: how pages read in a browser is not tested"

# The queues that ours is measured beside, in environments of their own: arq wants another redis client than the rest.
$(PEERS): bench/peers/requirements.txt bench/peers/requirements-arq.txt | $(READY)
	$(BIN)/python -m venv .venv/peers
	.venv/peers/bin/python -m pip install -q --disable-pip-version-check -r bench/peers/requirements.txt
	$(BIN)/python -m venv .venv/peers-arq
	.venv/peers-arq/bin/python -m pip install -q --disable-pip-version-check -r bench/peers/requirements-arq.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $(PEERS)

# One test lets docker-compose read docker-compose.yml. Where neither it nor the means to install it are there, the test
# says that this was not run.
compose-tool:
	@command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
			&& apt-get install -y -q --no-install-recommends docker-compose >/dev/null 2>&1; } \
		|| echo "make: docker-compose is not here and cannot be installed: whether it accepts docker-compose.yml is not tested"
