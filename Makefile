# haman: `make help` lists what there is. Everything works from a fresh Debian or Ubuntu machine.

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.stamp
# Most tests wait for real programs: two files at a time use half of two cores.
JOBS ?= 3
# Several files at a time can starve a test that holds real programs to a protocol's bound.
# Files that wait for real programs come first (tests/conftest.py): what is begun last should be short.
# What failed is named, and run once more with the machine to itself: there it must hold.
AGAIN = echo "make test: once more, alone:" && $(PYTHON) -m pytest --last-failed --last-failed-no-failures=none
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# Program:package. Every lab needs the first line, the anycast lab a router too, benchmark and tests the
# others as well: a demo must not bring an SSH server to somebody's laptop.
NEEDS := haproxy:haproxy ip:iproute2 unshare:util-linux openssl:openssl pgrep:procps nft:nftables
ROUTER := vtysh:frr
PEERS := keepalived:keepalived tshark:tshark tcpdump:tcpdump sshd:openssh-server sudo:sudo
PEERS += curl:curl ping:iputils-ping bird:bird2 nginx:nginx-light caddy:caddy tmux:tmux

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench sim drills lab-clab bench-sampler bench-tui bench-playbook screenshots clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install system packages (as root) and build .venv, once

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml lab/setup.sh
	@lab/setup.sh $(VENV) $(NEEDS)
	@touch $@

$(STAMP)-router: $(STAMP)
	@lab/setup.sh $(VENV) $(ROUTER)
	@touch $@

$(STAMP)-peers: $(STAMP)-router requirements-peers.txt
	@lab/setup.sh $(VENV) $(PEERS)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-peers.txt
	@touch $@

demo: $(STAMP)$(if $(filter anycast,$(DEMO)),-router) ## Real proxies, one killed under load: what clients see, then the TUI
	@$(SUDO) env DEMO=$(DEMO) lab/demo.sh $(VENV)/bin/haman

test: $(STAMP)-peers ## The whole suite; privileged parts run when root
	$(PYTHON) -m pytest --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder || { [ $$? = 1 ] && $(AGAIN); }

lint: $(STAMP) ## ruff and mypy, both clean or it fails
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

bench: $(STAMP)-peers ## haman beside keepalived, and its anycast: five tables, some 40 minutes; into lab/results and README
	@$(SUDO) $(VENV)/bin/haman lab bench lab/pair.clab.yml --results lab/results $(BENCH)
	@echo
	@$(SUDO) $(VENV)/bin/haman lab bench lab/anycast.clab.yml --results lab/results $(BENCH)
	@$(PYTHON) -m haman.lab.tables README.md

SEEDS := 10000
sim: $(STAMP) ## Seeded runs of faulty clusters, on all cores: SEEDS=10000 of them, from seed 1
	$(PYTHON) -m haman.cli simulate --seeds 1..$(SEEDS)

bench-sampler: $(STAMP) ## What sensing costs beside a saturated HAProxy, and how fast a storm is named
	@$(SUDO) $(PYTHON) -m tests.controller.bench_sampler

bench-tui: $(STAMP) ## What the TUI costs and how quick it is: four figures against their bounds
	@$(PYTHON) -m tests.tui.bench_tui

bench-playbook: $(STAMP)-peers ## What the runner of playbooks costs per step beside its SSH round trips
	@$(SUDO) $(PYTHON) -m tests.playbook.bench

drills: $(STAMP)-peers ## Every drill in namespaces, and in the model beside: tables, and .lab/drills/drills.html
	@$(SUDO) $(VENV)/bin/haman lab drill --all --beside-sim $(DRILLS)

lab-clab: $(STAMP) ## The drills on real containerlab; says what is missing, installs none of it
	@$(SUDO) env PATH="$(PATH)" DOCKER_HOST="$(DOCKER_HOST)" SLACK="$(SLACK)" lab/clab.sh $(VENV)/bin/haman $(DRILLS)

screenshots: $(STAMP) ## Pictures of the TUI on the live pair lab (without root: on sample data), as SVG
	$(PYTHON) -m tests.tui.screenshots build/screenshots

clean: ## Take the lab down; remove .venv, .lab and caches
	@if [ -x $(VENV)/bin/haman ] && [ -d .lab ]; then $(SUDO) $(VENV)/bin/haman lab down; fi
	@$(SUDO) rm -rf .lab
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
