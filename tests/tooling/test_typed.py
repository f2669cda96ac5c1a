"""A scope or an event in ``gateway`` has its type, unless it really may be of any kind."""

import ast
from collections.abc import Iterator

from servers.site import ROOT

ROUTERS = "a router and what it refuses: scopes of every type pass"
DELIVERY = "delivery knows no scope type: it asks the kind"
CONSUMERS = "events of every type pass, on their way to the methods, which are typed"
APPLICATIONS = "an application of the gateway's own: every scope may come to it"
ARRIVALS = "what arrives is of every type; the watch of each type says what it is called"
TRACES = "a span is made of what is of every type; each type's own tracing says what it is called"
TESTS = "a test may give any scope, and look at it"
RECORDINGS = "what was recorded is run again, whatever it is"
ANY = {
    ROUTERS: """
        gateway/compat/routers.py
        gateway/routing/lifespan.py gateway/routing/router.py gateway/routing/scope_types.py gateway/routing/targets.py
        gateway/routing/unrouted.py
        gateway/scopes/email/postmaster.py gateway/scopes/email/router.py gateway/scopes/http/checked_route.py
        gateway/scopes/mqtt/router.py""",
    DELIVERY: """
        gateway/delivery/atomic_part.py gateway/delivery/incoming.py gateway/delivery/attempt.py
        gateway/delivery/claimed_attempt.py
        gateway/delivery/current_event.py gateway/delivery/guard.py gateway/delivery/kind.py
        gateway/delivery/outgoing.py gateway/delivery/reports.py gateway/delivery/route_table.py
        gateway/delivery/time_limit.py gateway/delivery/under_policy.py gateway/delivery/worker.py
        gateway/scopes/sms/delivery.py""",
    CONSUMERS: """
        gateway/compat/listener.py
        gateway/consumers/base.py gateway/consumers/departure.py gateway/consumers/email.py gateway/consumers/forms.py
        gateway/consumers/http.py gateway/consumers/mqtt.py gateway/consumers/mqtt_batch.py gateway/consumers/raw.py
        gateway/consumers/received.py gateway/consumers/sms.py gateway/consumers/unanswered.py
        gateway/consumers/waiting.py""",
    ARRIVALS: """
        gateway/arrivals/arrival.py gateway/arrivals/service.py gateway/arrivals/stored.py gateway/arrivals/watch.py
        gateway/delivery/observer.py gateway/scopes/email/arrivals.py gateway/scopes/http/arrivals.py
        gateway/scopes/mqtt/arrivals.py gateway/scopes/sms/arrivals.py gateway/scopes/websocket/arrivals.py""",
    TRACES: """
        gateway/spans.py gateway/tracing/origin.py gateway/tracing/runs.py gateway/tracing/traced.py
        gateway/tracing/tracer.py gateway/scopes/email/tracing.py gateway/scopes/http/tracing.py
        gateway/scopes/mqtt/tracing.py gateway/scopes/websocket/tracing.py""",
    TESTS: "gateway/testing/communicator.py",
    RECORDINGS: """
        gateway/recording/replay_run.py gateway/scopes/kind.py gateway/scopes/email/kind.py gateway/scopes/http/kind.py
        gateway/scopes/mqtt/kind.py gateway/scopes/sms/kind.py gateway/scopes/task/kind.py
        gateway/scopes/websocket/kind.py""",
    APPLICATIONS: """
        gateway/django/views.py gateway/runtime/application.py gateway/runtime/health.py gateway/runtime/mounts.py""",
}
NAMES = {"scope", "_scope", "event"}
"""What an argument or attribute is called that holds one."""


def untyped(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target).rpartition(".")[2]
            if name in NAMES and ast.unparse(node.annotation) == "Any":
                yield name


def test_any_is_written_only_where_a_scope_may_be_of_any_kind() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "gateway").rglob("*.py")
        if list(untyped(ast.parse(path.read_text())))
    }
    allowed = {path for paths in ANY.values() for path in paths.split()}
    assert sorted(found - allowed) == []
    assert sorted(allowed - found) == [], "typed by now"


def test_what_counts_as_untyped() -> None:
    text = (
        "class A:\n    scope: Any\n    def f(self, event: Any, scope: MQTTScope) -> Any:\n        self._scope: Any = 1"
    )
    assert sorted(untyped(ast.parse(text))) == ["_scope", "event", "scope"]
