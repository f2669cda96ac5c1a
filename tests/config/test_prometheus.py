"""The alerts and the dashboard: promtool takes them, they name only what there is, and a real Prometheus answers."""

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from queries import wrong
from servers.metrics_site import WholeSite
from servers.programs import program
from servers.prometheus import Prometheus, prometheus
from servers.site import ROOT, until

from gateway.metrics.table import FAMILIES

FOLDER = ROOT / "config" / "prometheus"
CASES = Path(__file__).with_name("alerts_test.yml")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = {
    **{rule["alert"]: rule["expr"] for rule in RULES},
    **{
        f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel.get("targets", ())
    },
    **{each["name"]: each["expr"] for each in DASHBOARD["annotations"]["list"]},
}
WIDTH = 24


def promtool(*arguments: str) -> None:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# The alerts.


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(FOLDER / "alerts.yml"))


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    assert set(re.findall(r'alertname="(\w+)"', CASES.read_text())) == {rule["alert"] for rule in RULES}
    promtool("test", "rules", str(CASES))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_its_place_in_the_documentation(rule: dict[str, Any]) -> None:
    page, _, rest = rule["annotations"]["runbook"].partition("#")
    anchor, colon, sentence = rest.partition(": ")
    assert (page, anchor, colon) == ("docs/operation.md", rule["alert"].lower(), ": ")
    assert sentence.endswith(".")
    assert f"\n### {rule['alert']}\n" in (ROOT / page).read_text()
    assert rule["labels"]["severity"] in ("critical", "warning")


# The dashboard.


def test_the_dashboard_is_one() -> None:
    """As Grafana's schema has it: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/"""
    assert DASHBOARD.keys() >= {"title", "uid", "schemaVersion", "time", "templating", "annotations", "panels"}
    assert {each["type"] for each in PANELS} == {"row", "stat", "timeseries"}
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    for panel in PANELS:
        assert panel["title"]
        assert [each["refId"] for each in panel.get("targets", ())] == list("ABCDEF"[: len(panel.get("targets", ()))])


def test_no_panel_covers_another() -> None:
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] + place["w"] <= WIDTH for place in places)
    for one, other in itertools.combinations(places, 2):
        assert not (_overlap(one, other, "x", "w") and _overlap(one, other, "y", "h"))


def _overlap(one: dict[str, int], other: dict[str, int], at: str, size: str) -> bool:
    return one[at] < other[at] + other[size] and other[at] < one[at] + one[size]


def test_every_source_of_data_is_the_one_that_is_chosen() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    targets = [target for panel in PANELS for target in panel.get("targets", ())]
    assert all(each["datasource"] == chosen for each in [*targets, *DASHBOARD["annotations"]["list"]])
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == ["datasource", "instance"]


# The queries of both.


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_names_only_what_there_is(query: str) -> None:
    assert wrong(query, FAMILIES) == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("gateway_nothing", ["there is no metric gateway_nothing"]),
        ("gateway_loop_delay_seconds", ["there is no metric gateway_loop_delay_seconds"]),
        ("gateway_threads_count", ["there is no metric gateway_threads_count"]),
        ('gateway_threads{instance="a", topic=~"x"}', ["gateway_threads has no label topic"]),
        ("sum by (instance, route) (gateway_connections)", ["nothing there has a label route"]),
        (
            'sum by (server, le) (rate(gateway_connections{server="le=gateway_x"}[5m]))',
            ["nothing there has a label le"],
        ),
    ],
)
def test_a_query_that_names_something_else_is_found(query: str, said: list[str]) -> None:
    assert wrong(query, FAMILIES) == said


@pytest.fixture(scope="module")
def scraping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    site = WholeSite(tmp_path_factory.mktemp("site"))
    try:
        with prometheus(site.console) as server:
            until(lambda: server.value("count(gateway_threads_wait_seconds_count)"), lambda: str(server.target()))
            yield server
    finally:
        site.close()


def test_prometheus_answers_every_query(scraping: Prometheus) -> None:
    for query in QUERIES.values():
        scraping.query(query.replace("$__rate_interval", "5m").replace("$instance", ".*"))


def test_no_alert_is_on_for_a_gateway_that_has_just_started(scraping: Prometheus) -> None:
    """Its broker is away, its certificate lives for two days, and the machine that runs this may be slow or full."""
    of_the_site = {"GatewayBrokerAway", "GatewayCertificateEnds"}
    of_the_machine = {"GatewayDown", "GatewayLoopDelayed", "GatewayStoreSlow", "GatewayDiskNearlyFull"}
    firing = {rule["alert"] for rule in RULES if scraping.query(rule["expr"])}
    assert firing - of_the_site <= of_the_machine
