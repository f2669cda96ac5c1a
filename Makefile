# `make run` and `make test` need Python 3.11 or later and nothing else; they make .venv themselves.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PEERS := mosquitto mosquitto-clients dovecot-imapd dovecot-lmtpd redis-server chromium chromium-driver swaks curl haproxy
PROGRAMS := mosquitto mosquitto_pub dovecot redis-server chromium chromedriver swaks curl haproxy
BENCHMARKS := http_hello websocket_echo mqtt_qos0 mqtt_qos1 mqtt_fanout mqtt_orm mqtt_idle smtp sms store mqtt_inbox mqtt_client \
	smtp_inbox
SITE := examples/site/manage.py
.DEFAULT_GOAL := help
.PHONY: help install run test faults check peers bench bench-quick schema

help:
	@echo "make run | test | faults | check | bench | bench-quick | install | schema"

install: $(STAMP)

$(STAMP): pyproject.toml config/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c config/constraints.txt -e '.[django,imap,dev,bench]'
	touch $@

gateway.yaml:
	cp gateway.yaml.example $@

run: install gateway.yaml
	$(BIN)/python $(SITE) migrate --verbosity 0
	@exec $(BIN)/gateway run

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/gateway schema | diff -u config/gateway.schema.json -
	$(BIN)/gateway schema --format markdown | diff -u docs/configuration.md -

schema: install
	$(BIN)/gateway schema > config/gateway.schema.json
	$(BIN)/gateway schema --format markdown > docs/configuration.md

# The real servers that tests talk to. Tests whose peer is missing are skipped, loudly; with CI=true they fail.
peers:
	@missing=$$(for each in $(PROGRAMS); do PATH=$$PATH:/usr/sbin command -v $$each >/dev/null || echo $$each; done); \
	test -z "$$missing" && exit 0; \
	sudo=$$(test "$$(id -u)" = 0 || echo "sudo -n"); \
	$$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -qq -y --no-install-recommends $(PEERS) && exit 0; \
	echo "MISSING, AND NOT INSTALLED:" $$missing; test "$$CI" != true

test: install peers check
	PATH=$$PATH:/usr/sbin $(BIN)/python -m pytest

# kill -9 and worse, many times; `make test` does it a few times.
faults: install peers
	PATH=$$PATH:/usr/sbin FAULT_SEEDS=$(or $(SEEDS),20) $(BIN)/python -m pytest tests/faults

# Ours beside its peers, in one run each; ratios mean something, rates are this machine's.
bench bench-quick: install
	@for each in $(BENCHMARKS) $(if $(filter bench,$@),mqtt_soak); do $(BIN)/python -m benchmarks.$$each $(if $(filter bench-quick,$@),--quick) || exit 1; done
