# Every target installs what it lacks and says so; a second run installs nothing again.
SHELL := /bin/bash
PY    := .venv/bin/python
APT   := openvswitch-switch openvswitch-vtep iproute2 iputils-ping tcpdump ethtool frr openssh-server rabbitmq-server zookeeper
CLOUD := mariadb-server socat dnsmasq-base iptables ipset conntrack iputils-arping busybox mmdebstrap

.PHONY: help dist venv openstack apt apt-cloud simulator check lint types contracts fast test demo demo-contrail demo-vds demo-ovsvapp live bench lab-up lab-down lab-status clean
.DEFAULT_GOAL := help

help: ## what the targets do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: .venv/.installed ## the Python environment of this tree (.venv)
.venv/.installed: pyproject.toml requirements/constraints.txt
	@tools/install python

openstack: .venv-openstack/.installed ## the Python environment of the tests with OpenStack's own code (.venv-openstack; 1 GB)
.venv-openstack/.installed: pyproject.toml requirements/constraints.txt requirements/openstack.txt requirements/openstack-constraints.txt
	@tools/install openstack

dist: venv ## isthmus as a wheel, to be copied to where it is to run (dist/)
	@$(PY) -m pip wheel -q --disable-pip-version-check --no-deps -w dist . && ls dist/isthmus-*.whl

apt: ## Debian packages the lab needs: Open vSwitch and friends (root)
	@tools/install apt $(APT)

apt-cloud: apt ## and those of a whole Neutron: MariaDB, RabbitMQ, what its agents use (root; started by nobody but the lab)
	@tools/install apt $(CLOUD)

simulator: venv ## the vCenter simulator's binary (Go; cached in build/)
	@$(PY) -m lab.vcenter build

lint: venv
	@echo "== lint";      $(PY) -m ruff check . && $(PY) -m ruff format --check .
types: venv
	@echo "== types";     $(PY) -m mypy
contracts: venv
	@echo "== contracts"; PYTHONPATH=.:src .venv/bin/lint-imports --no-cache
fast: venv
	@echo "== fast tests"; $(PY) -m pytest -q -n auto -m "not sim and not live and not slow and not openstack"

check: lint types contracts fast ## lint, types, import contracts, fast tests: some five minutes on 2 cores, no root

test: check apt simulator openstack ## everything a change must pass (45 minutes on 2 cores; root)
	@tools/tier test

live: venv apt-cloud simulator openstack ## every scenario on the simulator and real Open vSwitch (an hour; root)
	@tools/tier live

demo: venv apt simulator ## see it work: three ESXi hosts, a VXLAN overlay, vMotion (root)
	@$(PY) -m lab.netns demo

demo-contrail: venv apt simulator ## the same of design contrail, with stand-ins of the api-server and of the vRouters (root)
	@$(PY) -m lab.netns demo-contrail

demo-vds: apt-cloud simulator openstack ## the same with leaf switches: a whole Neutron, KVM, DHCP, routers (root)
	@.venv-openstack/bin/python -m lab.openstack demo

demo-ovsvapp: apt-cloud simulator openstack ## the same with an Open vSwitch appliance on each ESXi host (root)
	@.venv-openstack/bin/python -m lab.openstack demo-ovsvapp

lab-up: venv apt simulator ## leave the demo's world running, to play with (root)
	@$(PY) -m lab.netns up
lab-down: venv ## take the world down again
	@$(PY) -m lab.netns down
lab-status: venv ## what of the world is running
	@$(PY) -m lab.netns status

bench: venv apt-cloud simulator openstack ## performance figures as ratios to floors measured in the same run
	@tools/tier bench

clean: ## forget builds and caches (not .venv)
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
