"""Nothing is imported that a command, or the file, does not ask for."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from servers.site import ROOT

from gateway.cli.commands import COMMANDS, Commands
from gateway.cli.start import plain_run

FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:0"}}{more}}}
routes: {{http: start_up_handlers.Web{routes}}}
"""
HANDLERS = """
from gateway import AsyncHttpConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond(b"ok")
"""


def imported(folder: Path, *arguments: str) -> set[str]:
    """The modules that a command imports."""
    command = [sys.executable, "-X", "importtime", "-m", "gateway", *arguments]
    done = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return set(re.findall(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", done.stderr, re.MULTILINE))


def built(folder: Path) -> set[str]:
    """The modules that there are once everything is made that the file asks for, before anything is started."""
    code = """
import sys
from gateway.cli.start import plain_run
from gateway.cli.daemon import built_to_run, loaded_to_run
built_to_run(loaded_to_run(*plain_run(["run", "-c", "gateway.yaml"])))
print(*sys.modules)
"""
    environment = {"PYTHONPATH": str(ROOT), "SITE_VAR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("traced", [False, True])
def test_opentelemetry_is_imported_where_the_file_traces(tmp_path: Path, traced: bool) -> None:
    """And then before the first message, and not with it."""
    (tmp_path / "start_up_handlers.py").write_text(HANDLERS)
    tracing = "tracing: {}" * traced
    (tmp_path / "gateway.yaml").write_text(FILE.format(more="", routes="") + tracing)
    found = {name for name in built(tmp_path) if name.split(".")[0] == "opentelemetry"}
    assert bool(found) is traced
    assert ("opentelemetry.exporter.otlp.proto.http.trace_exporter" in found) is traced


def test_the_version_needs_no_command_and_none_of_the_gateway(tmp_path: Path) -> None:
    found = imported(tmp_path, "--version")
    assert not found & {home.partition(":")[0] for home in COMMANDS.values()}
    ours = {name for name in found if name.partition(".")[0] in ("gateway", "protocols")}
    assert {name for name in ours if not name.startswith("gateway.cli")} == {
        "gateway",
        "gateway.config",
        "gateway.config.diagnostics",
        "gateway.config_file",
        "gateway.exit_codes",
        "gateway.garbage_collection",
        "gateway.logs",
        "gateway.logs.escaping",
        "protocols",
        "protocols.lazy_names",
    }
    assert not found & {"aiohttp", "asyncio", "django", "pydantic", "rich", "yaml"}


def test_a_command_collects_garbage_from_its_beginning_on(tmp_path: Path) -> None:
    """And never looks at what was imported before."""
    code = """
import gc, sys
from gateway.cli.main import main
sys.argv = ["gateway", "schema"]
try:
    main()
finally:
    print(gc.isenabled(), gc.get_freeze_count() > 10_000, file=sys.stderr)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "True True\n")


def test_a_file_without_mail_needs_nothing_of_mail(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE.format(more="", routes=""))
    (tmp_path / "start_up_handlers.py").write_text(HANDLERS)
    found = imported(tmp_path, "check")
    libraries = {
        "aiosmtpd",
        "aiosmtplib",
        "aioimaplib",
        "django",
        "dkim",
        "dns",
        "phonenumbers",
        "selectolax",
        "sqlite3",
    }
    servers = {"mail.imap.reader", "mail.smtp.server", "mqtt.client.client", "mqtt.server", "sms.webhook"}
    mail = {"mail.compose.mail", "mail.message.inbound", "mail.submission.smtp"}
    assert not found & {"django", "sqlite3"}
    assert not found & (libraries | {f"protocols.{name}" for name in servers | mail})


def test_a_scope_type_that_the_file_does_not_name_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE.format(more="", routes=""))
    (tmp_path / "start_up_handlers.py").write_text(HANDLERS)
    others = re.compile(
        r"(protocols\.(mail|mqtt|sms)|gateway\.scopes\.(email|mqtt|sms)|gateway\.consumers\.mqtt)(\.|$)"
    )
    assert {name for name in built(tmp_path) if others.match(name)} == {
        "gateway.scopes.email",
        "gateway.scopes.email.submission",
        "protocols.mail",
        "protocols.mail.oauth",
        "protocols.mail.oauth.source",
        "protocols.mail.submission",
    }, "names alone: what opens a submission server, and what a missing token is called"


def test_a_file_with_mqtt_alone_needs_nothing_of_http(tmp_path: Path) -> None:
    text = 'servers: {devices: {protocol: mqtt, bind: "127.0.0.1:0"}}\nroutes: {mqtt: start_up_handlers.Device}\n'
    (tmp_path / "gateway.yaml").write_text(text)
    (tmp_path / "start_up_handlers.py").write_text(
        "from gateway import AsyncMqttConsumer\nclass Device(AsyncMqttConsumer):\n"
        "    async def receive(self, topic, payload): pass\n"
    )
    found = imported(tmp_path, "check")
    assert "protocols.mqtt.broker.broker" in found
    assert not found & {"aiohttp", "aiohttp.http", "attr", "multidict", "yarl", "protocols.http.server"}


def test_the_example_is_built_without_what_reads_command_lines_and_without_clients_of_http(tmp_path: Path) -> None:
    file = (ROOT / "gateway.yaml.example").read_text().replace("examples/site", f"{ROOT}/examples/site")
    (tmp_path / "gateway.yaml").write_text(file)
    found = built(tmp_path)
    assert {"httptools.parser", "django", "phonenumbers", "protocols.sms.webhook"} <= found
    assert not found & {"aiohttp", "aiohttp.client", "pydantic", "pydantic_core", "typer"}
    assert not found & {"gateway.reload", "protocols.mail.imap.reader"}, "it reloads nothing, and has no mailbox yet"
    assert "protocols.mail.oauth.endpoint" not in found, "no login needs a token"


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        ("run", []),
        ("run -c a.yaml", ["a.yaml"]),
        ("--config a.yaml run", ["a.yaml"]),
        ("run --config", None),
        ("run --reload", None),
        ("run --help", None),
        ("-c run", None),
        ("", None),
        ("check", None),
    ],
)
def test_a_plain_start_is_recognized(arguments: str, files: list[str] | None) -> None:
    assert plain_run(arguments.split()) == files


def test_the_supervisor_of_reload_needs_nothing_that_an_application_may_change() -> None:
    code = "import gateway.cli.start, gateway.reload.supervisor, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    found = set(done.stdout.split())
    assert "watchfiles" in found
    assert not found & {"aiohttp", "django", "gateway.runtime.build", "gateway.scopes", "pydantic", "yaml"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_list_says(name: str) -> None:
    assert Commands()[name].name == name


@pytest.mark.parametrize("routed", [False, True])
def test_tasks_are_imported_where_the_file_routes_them(tmp_path: Path, routed: bool) -> None:
    """And the task framework only where the settings name the gateway's backend."""
    (tmp_path / "start_up_handlers.py").write_text(HANDLERS)
    settings = "SECRET_KEY = 'x'\nROOT_URLCONF = 'start_up_settings'\nurlpatterns = []\n"
    if routed:
        settings += (
            "INSTALLED_APPS = ['django_tasks']\nTASKS = {'default': {'BACKEND': 'gateway.django.TaskBackend'}}\n"
        )
    (tmp_path / "start_up_settings.py").write_text(settings)
    more = "\ndjango: {settings: start_up_settings}\n"
    text = FILE.format(more="", routes=", task: django" if routed else "")
    (tmp_path / "gateway.yaml").write_text(text + more)
    found = built(tmp_path)
    assert "django.apps" in found
    ours = {name for name in found if name.startswith(("gateway.scopes.task", "gateway.django.tasks"))}
    assert bool(ours) is routed
    assert ("gateway.task_queue" in found) is routed
    assert ("django_tasks" in found or "django.tasks.base" in found) is routed
