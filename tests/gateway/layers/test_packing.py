"""Messages as bytes for other processes, and the layer that tests have in place of one that sends them."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.layers.packed import pack
from gateway.layers.packing import PackingChannelLayer
from gateway.testing import InMemoryGateway

ROUND: list[Any] = []
ROUND.append(ROUND)
WRONG: dict[str, tuple[Any, str]] = {
    "datetime": (datetime.now(UTC), r"'value' is not text, .*datetime.*; write value.isoformat\(\)"),
    "Decimal": ({"a": [1, {"price": Decimal(1)}]}, r"'value.a\[1\].price' is not text, .*; write str\(value\)"),
    "set": ([{1}], r"'value\[0\]' is not text, .*; write list\(value\)"),
    "a large number": (2**64, "'value' is not text, .*out of range"),
    "half a character": ("\ud800", "'value' is not text, .*surrogates not allowed"),
    "a list in itself": (ROUND, r"'value\[0\].*recursion limit"),
}


@pytest.mark.parametrize(("value", "said"), WRONG.values(), ids=WRONG)
def test_a_value_that_cannot_leave_is_named_with_its_place(value: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        pack({"type": "x", "right": 1, "value": value})


@pytest.mark.parametrize(("layer", "packs"), [("memory", False), ("ipc", True), ("redis://nowhere.example", True)])
async def test_a_gateway_in_memory_takes_what_its_layer_takes(layer: str, packs: bool, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    (tmp_path / "handlers_for_packing.py").write_text("async def app(scope, receive, send): pass\n")
    routes = "servers: {web: {protocol: http}}\nroutes: {http: handlers_for_packing.app}\n"
    file.write_text(f"layer: {json.dumps(layer)}\n{routes}")
    async with InMemoryGateway(file) as gateway:
        assert isinstance(gateway.layer, PackingChannelLayer) == packs
        channel = await gateway.layer.new_channel()
        await gateway.layer.group_add("g", channel)
        if packs:
            for send in (gateway.layer.group_send, gateway.layer.send):
                with pytest.raises(TypeError, match="'when' is not text"):
                    await send("g", {"type": "x", "when": datetime.now(UTC)})
        await gateway.layer.group_send("g", {"type": "x", "pair": (1, 2)})
        assert await gateway.layer.receive(channel) == {"type": "x", "pair": [1, 2] if packs else (1, 2)}
