"""Row 14: 1,000 devices log in at once with right passwords, each its own; the seconds until all are in.

Ours three times: with nothing remembered, when the same devices come back to the same process, and when they come back
after a ``kill -9`` of the gateway (``persistence: true``). Our hashes are argon2id as ``gateway password`` makes them,
20 ms of a core each; Mosquitto's are 101 rounds of PBKDF2, as ``mosquitto_passwd`` makes them. Less is better.
"""

import contextlib
import getpass
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.mqtt_idle import allow
from benchmarks.mqtt_login_load import password
from benchmarks.side_by_side import Peer, options_of, python, report, running
from protocols.access.users import hash_password

MANY, FEW = 1_000, 200

GATEWAY = """\
path: {here}
store: sqlite:{root}/gateway.db
servers:
  devices: {{protocol: mqtt, bind: "127.0.0.1:{port}", password_file: {root}/users, persistence: true}}
routes:
  mqtt: benchmarks.mqtt_apps.consumer
"""
MOSQUITTO = """\
listener {port} 127.0.0.1
password_file {root}/passwords
user {user}
"""


def storm(port: int, count: int) -> float:
    command = python("-m", "benchmarks.mqtt_login_load", str(port), str(count))
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    refused, seconds = done.stdout.split()
    if int(refused):
        print(f"  {refused} right logins were refused")
    return float(seconds)


@contextlib.contextmanager
def ours(root: Path) -> Iterator[int]:
    def command(port: int) -> list[str]:
        (root / "gateway.yaml").write_text(GATEWAY.format(here=Path.cwd(), root=root, port=port))
        return python("-m", "gateway", "run", "-c", str(root / "gateway.yaml"))

    with running(Peer("ours", command)) as (port, pid):
        yield port
        subprocess.run(["kill", "-9", str(pid)], check=True)


@contextlib.contextmanager
def mosquitto(root: Path) -> Iterator[int]:
    def command(port: int) -> list[str]:
        (root / "mosquitto.conf").write_text(MOSQUITTO.format(root=root, port=port, user=getpass.getuser()))
        return ["mosquitto", "-c", str(root / "mosquitto.conf")]

    with running(Peer("mosquitto", command)) as (port, _):
        yield port


def write_users(root: Path, count: int) -> None:
    names = [f"device-{number}" for number in range(count)]
    with ThreadPoolExecutor(2) as pool:
        hashes = pool.map(lambda number: hash_password(password(number).encode()), range(count))
    (root / "users").write_text("".join(f"{name}:{hashed}\n" for name, hashed in zip(names, hashes, strict=True)))
    lines = [f"{name}:{password(number)}\n" for number, name in enumerate(names)]
    (root / "passwords").write_text("".join(lines))
    subprocess.run(["mosquitto_passwd", "-U", str(root / "passwords")], check=True)


def measure(rounds: int, count: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ("after kill -9", "again", "first time", "mosquitto")}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            write_users(root, count)
            with ours(root) as port:
                seconds["first time"].append(storm(port, count))
                seconds["again"].append(storm(port, count))
            with ours(root) as port:
                seconds["after kill -9"].append(storm(port, count))
            with mosquitto(root) as port:
                seconds["mosquitto"].append(storm(port, count))
    return seconds


def main() -> None:
    options = options_of("MQTT logins")
    count = FEW if options.quick else MANY
    allow(count + 500)
    report(
        f"{count:,} MQTT logins at once",
        "milliseconds",
        {name: [1000 * each for each in all_of] for name, all_of in measure(1 if options.quick else 3, count).items()},
    )


if __name__ == "__main__":
    main()
