"""What is measured of an MQTT server, while Mosquitto's clients use it."""

import asyncio

from mqtt_peer import Recorder, serving
from servers.programs import program
from waiting import until

LIMIT = 10.0


async def mosquitto(name: str, port: str, *options: str) -> asyncio.subprocess.Process:
    command = [program(name), "-h", "127.0.0.1", "-p", port, *options]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)


async def test_sessions_subscriptions_and_retained_messages() -> None:
    async with serving(Recorder(), sys_interval=0) as server:
        assert not any(value for name, value in server.figures().items() if "limit" not in name)
        port = server.address.rpartition(":")[2]
        away = ["-i", "away", "-c", "-q", "1", "-t", "a/#", "-t", "b"]
        subscriber = await mosquitto("mosquitto_sub", port, *away)
        await until(lambda: server.figures()["mqtt_subscriptions"] == 2)
        assert (server.figures()["mqtt_sessions"], server.figures()["mqtt_sessions_away"]) == (1, 0)
        subscriber.terminate()
        await asyncio.wait_for(subscriber.wait(), LIMIT)
        await until(lambda: server.figures()["mqtt_sessions_away"] == 1)
        publisher = await mosquitto("mosquitto_pub", port, "-t", "a/b", "-m", "x" * 100, "-q", "1", "-r")
        assert await asyncio.wait_for(publisher.wait(), LIMIT) == 0
        figures = server.figures()
        assert figures["mqtt_retained_messages"] == 1
        assert 100 <= figures["mqtt_queued_bytes"] < figures["mqtt_queued_limit_bytes"]
        assert figures["mqtt_packets_received_total"] >= 3
