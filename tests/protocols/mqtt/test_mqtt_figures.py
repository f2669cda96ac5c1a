"""What is measured of an MQTT server, while Mosquitto's clients use it."""

import asyncio
import subprocess

from mqtt_peer import Recorder, serving
from servers.programs import program
from waiting import until

LIMIT = 10.0


def mosquitto(name: str, port: str, *options: str) -> subprocess.Popen[bytes]:
    """Not a process of the loop: uvloop's may hang where other tests have started many."""
    command = [program(name), "-h", "127.0.0.1", "-p", port, *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


async def test_the_servers_own_retained_messages_are_not_counted_among_those_of_clients() -> None:
    async with serving(Recorder(), sys_interval=0.05) as server:
        await until(lambda: any(server.retained("$SYS/#")))
        assert server.figures()["mqtt_retained_messages"] == 0
        port = server.address.rpartition(":")[2]
        publisher = mosquitto("mosquitto_pub", port, "-t", "a/b", "-m", "x", "-q", "1", "-r")
        assert await asyncio.to_thread(publisher.wait, LIMIT) == 0
        assert server.figures()["mqtt_retained_messages"] == 1
        await until(
            lambda: (
                [each.payload for each in server.broker.retained.match("$SYS/broker/retained messages/count") if each]
                == [b"1"]
            )
        )


async def test_sessions_subscriptions_and_retained_messages() -> None:
    async with serving(Recorder(), sys_interval=0) as server:
        assert not any(value for name, value in server.figures().items() if "limit" not in name)
        port = server.address.rpartition(":")[2]
        away = ["-i", "away", "-c", "-q", "1", "-t", "a/#", "-t", "b"]
        subscriber = mosquitto("mosquitto_sub", port, *away)
        await until(lambda: server.figures()["mqtt_subscriptions"] == 2)
        assert (server.figures()["mqtt_sessions"], server.figures()["mqtt_sessions_away"]) == (1, 0)
        subscriber.terminate()
        await asyncio.to_thread(subscriber.wait, LIMIT)
        await until(lambda: server.figures()["mqtt_sessions_away"] == 1)
        publisher = mosquitto("mosquitto_pub", port, "-t", "a/b", "-m", "x" * 100, "-q", "1", "-r")
        assert await asyncio.to_thread(publisher.wait, LIMIT) == 0
        figures = server.figures()
        assert figures["mqtt_retained_messages"] == 1
        assert 100 <= figures["mqtt_queued_bytes"] < figures["mqtt_queued_limit_bytes"]
        assert figures["mqtt_packets_received_total"] >= 3
