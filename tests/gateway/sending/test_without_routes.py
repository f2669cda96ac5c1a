"""An mqtt server without a route: `publish` reaches its subscribers, and so do devices, without a handler of MQTT."""

import signal
import threading
from pathlib import Path

import httpx
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.site import until

HANDLERS = """
from gateway import HttpConsumer, publish

class Switch(HttpConsumer):
    def handle(self, body):
        publish("lamps/1", body)
        self.respond("switched")
"""
CONFIG = """
servers:
  web: {protocol: http, bind: "127.0.0.1:WEB"}
  lamps: {protocol: mqtt, bind: "127.0.0.1:LAMPS"}
routes:
  http: lamps.Switch
  mqtt: []
"""


def test_a_broker_without_handlers(tmp_path: Path) -> None:
    web, lamps = free_port(), free_port()
    gateway = GatewayProcess(tmp_path, "lamps", HANDLERS, CONFIG.replace("WEB", str(web)).replace("LAMPS", str(lamps)))
    gateway.start()
    heard: list[tuple[str, bytes]] = []
    granted = threading.Event()
    device = paho.Client(CallbackAPIVersion.VERSION2)
    device.on_message = lambda *args: heard.append((args[2].topic, args[2].payload))
    device.on_subscribe = lambda *args: granted.set()
    try:
        until(lambda: "->" in gateway.output(), gateway.output)
        device.connect("127.0.0.1", lamps)
        device.loop_start()
        device.subscribe("lamps/#", 1)
        assert granted.wait(20)
        assert httpx.post(f"http://127.0.0.1:{web}/", content=b"on", timeout=20).text == "switched"
        device.publish("lamps/2", b"off", 1).wait_for_publish(20)
        until(lambda: sorted(heard) == [("lamps/1", b"on"), ("lamps/2", b"off")], lambda: str(heard))
    finally:
        device.disconnect()
        device.loop_stop()
        gateway.stop(signal.SIGKILL)
