# `make run` and `make test` need Python 3.11 or later and nothing else; they make .venv themselves.
PYTHON ?= python3
DOCKER ?= docker
BIN := .venv/bin
# What is installed knows its folder: where that was moved, .venv is made anew.
HERE := $(shell pwd | cksum | cut -d' ' -f1)
RUNS := .venv/.runs-$(HERE)
STAMP := .venv/.installed-$(HERE)
PIP := $(BIN)/python -m pip
INSTALL := $(PIP) install --quiet --disable-pip-version-check --use-pep517 -c config/constraints.txt -e
BENCHMARKS := http_hello http_bodies http_long_bodies http_connections http2 websocket_echo mqtt_qos0 mqtt_qos1 mqtt_fanout mqtt_fairness mqtt_orm mqtt_idle smtp smtp_cpu imap sms \
	store postgresql mqtt_inbox mqtt_persistent mqtt_client smtp_inbox mqtt_logins routes mail_reading \
	mail_consumers submission start_up reload metrics_cost layers static_files
LONG_BENCHMARKS := workers imap_large http_routed sync_consumers mqtt_soak
SITE := examples/site/manage.py
.DEFAULT_GOAL := help
.PHONY: help install run test faults faults-cluster check shape peers bench bench-quick schema docs dist image

help:
	@echo "make run          starts the example site, on loopback: installs what it needs, copies gateway.yaml.example"
	@echo "make test         everything that CI runs; on Debian and Ubuntu it installs the servers that tests talk to"
	@echo "make check        ruff, mypy, import contracts, pages that follow the source: seconds"
	@echo "make shape        the source in figures: sizes, scope types outside their folder, ignored checks"
	@echo "make faults       kill -9 and worse, SEEDS=20 times"
	@echo "make faults-cluster  three hosts, kill -9, pauses and cut cables, SEEDS=20 times"
	@echo "make bench-quick  our servers beside their peers: minutes; make bench takes its time"
	@echo "make install      .venv with every extra"
	@echo "make docs         the documentation as a site with a search; a dead link is an error"
	@echo "make dist         the wheel and the source distribution, in dist/"
	@echo "make image        the container image; with Podman: make image DOCKER=podman"
	@echo "make schema       writes the JSON Schema, the reference of gateway.yaml, that of the metrics and the diagrams of MQTT"

install: $(STAMP)

# A .venv without a working pip was interrupted. Debian keeps ensurepip in python3-venv; without it, the system's pip will do.
$(RUNS): pyproject.toml config/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into .venv: half a minute, longer on a slow line."
	@test -e $@ || { ! ls .venv/.runs-* && $(PIP) install --help; } >/dev/null 2>&1 || \
	if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv --clear .venv; \
	else $(PYTHON) -m venv --clear --without-pip .venv && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; \
	fi || { echo "No pip for .venv. On Debian and Ubuntu: apt install python3-venv, then make $(MAKECMDGOALS) again."; exit 1; }
	@$(INSTALL) '.[django,imap,mail]'
	@touch $@

$(STAMP): $(RUNS)
	@echo "Installing what tests and benchmarks need: a minute, longer on a slow line."
	@$(INSTALL) '.[django,imap,mail,dev,bench]'
	@touch $@

gateway.yaml:
	cp gateway.yaml.example $@

run: $(RUNS) gateway.yaml
	@$(BIN)/python $(SITE) migrate --verbosity 0
	@exec $(BIN)/gateway run

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports
	$(BIN)/python .ci/shape.py check
	$(BIN)/python -m pytest -q tests/docs/test_contributing.py tests/docs/test_mqtt_diagrams.py tests/docs/test_metrics_page.py tests/docs/test_asgi_pages.py
	$(BIN)/gateway schema | diff -u config/gateway.schema.json -
	$(BIN)/gateway schema --format log | diff -u config/log.schema.json -
	$(BIN)/gateway schema --format markdown | diff -u docs/configuration.md -
	$(BIN)/gateway schema --format openapi | diff -u config/openapi.json -
	$(BIN)/gateway schema --format operations | diff -u docs/operations.md -

shape: install
	@$(BIN)/python .ci/shape.py
	@$(BIN)/python .ci/trace.py

docs: install
	$(BIN)/python .ci/site.py && cd build/docs && ../../$(BIN)/zensical build --strict
	@echo "To read it: $(BIN)/python -m http.server --bind 127.0.0.1 -d build/docs/site"

dist: install
	$(BIN)/python -m build

image:
	$(DOCKER) build -f config/Dockerfile -t asgi-gateway .
	$(DOCKER) images asgi-gateway

schema: install
	$(BIN)/gateway schema > config/gateway.schema.json
	$(BIN)/gateway schema --format log > config/log.schema.json
	$(BIN)/gateway schema --format markdown > docs/configuration.md
	$(BIN)/gateway schema --format openapi > config/openapi.json
	$(BIN)/gateway schema --format operations > docs/operations.md
	$(BIN)/python tests/tooling/mqtt_diagrams.py
	$(BIN)/python tests/tooling/metrics_page.py

# The real servers that tests talk to. Tests whose peer is missing are skipped, loudly; with CI=true they fail.
peers:
	@PATH=$$PATH:/usr/sbin .ci/peers

# After ten thousand others in one process, uvloop was seen twice to wait for ever for its own threads at the end of one of these, which
# were idle; in a process of their own they end. It runs beside the others, and says last what came of it.
ALONE := tests/gateway/runtime/test_replace_peers.py

# Tests wait for servers more than they calculate: more of them than cores. What fails is run once more (R): with real servers, clocks and
# kills, one of 13,000 may fail because the machine was slow. The line "rerun" at the end counts them: find out why.
# A test that does not touch the event loop runs on one of the two here (--loops one), and on both in `make faults`.
# Compiled first: where PYTHONDONTWRITEBYTECODE is set, every daemon that a test starts would do it again.
test: install peers check
	@$(BIN)/python -m compileall -q gateway protocols
	@export PATH=$$PATH:/usr/sbin; \
	$(BIN)/python -m pytest $(ALONE) >.venv/alone.log 2>&1 & alone=$$!; \
	$(BIN)/python -m pytest -n $(or $(WORKERS),$(shell expr $$(nproc) \* 2)) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --reruns 1 --loops one --durations 15 --ignore $(ALONE); others=$$?; \
	wait $$alone; alone=$$?; cat .venv/alone.log; exit $$((others || alone))

# kill -9 and worse, many times; `make test` does it a few times.
faults: install peers
	PATH=$$PATH:/usr/sbin FAULT_SEEDS=$(or $(SEEDS),20) FAULT_KILLS=$(or $(KILLS),13) $(BIN)/python -m pytest tests/faults
	PATH=$$PATH:/usr/sbin $(BIN)/python -m pytest tests/gateway --ignore $(ALONE)
	PATH=$$PATH:/usr/sbin GATEWAY_RELOADS=100 $(BIN)/python -m pytest tests/gateway/runtime/test_replace_peers.py tests/gateway/runtime/test_many_reloads.py -k many_reloads
	GATEWAY_FULL_QUEUE=1 $(BIN)/python -m pytest --loops one -o faulthandler_timeout=0 tests/gateway/store/postgresql/test_full_notify_queue.py
	PATH=$$PATH:/usr/sbin GATEWAY_RELOADS=100 $(BIN)/python -m pytest tests/gateway/workers/test_many_rolls.py
	HTTP_EXAMPLES=5000 $(BIN)/python -m pytest -o timeout=600 -o faulthandler_timeout=0 tests/protocols/http/test_http_any_bytes.py
	GATEWAY_RETAINED=1000000 $(BIN)/python -m pytest tests/gateway/console/pages/test_many_retained.py
	PATH=$$PATH:/usr/sbin GATEWAY_RELOADS=30 $(BIN)/python -m pytest tests/gateway/reload/test_code_reload_load.py tests/gateway/reload/test_code_reload_proxies.py tests/gateway/reload/test_code_reload_grows.py

# Hosts as network namespaces, with the servers that they share, under load of every protocol: kill -9, a minute's pause, cut cables.
faults-cluster: install peers
	PATH=$$PATH:/usr/sbin CLUSTER_SEEDS=$(or $(SEEDS),20) CLUSTER_OPTIONS="--hosts 3 --seconds 120 --pause 60 --every 4" \
	$(BIN)/python -m pytest tests/faults/test_cluster.py -rP

# Ours beside its peers, in one run each; ratios mean something, rates are this machine's.
bench bench-quick: install
	@for each in $(BENCHMARKS) $(if $(filter bench,$@),$(LONG_BENCHMARKS)); do $(BIN)/python -m benchmarks.$$each $(if $(filter bench-quick,$@),--quick) || exit 1; done
