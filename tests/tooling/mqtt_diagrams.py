"""Draws the tables of QoS and handshake into docs/asgi/mqtt.md: ``make schema``."""

from collections.abc import Iterator
from pathlib import Path

from protocols.mqtt import handshake, qos
from protocols.mqtt.steps import Table

PAGE = Path(__file__).parents[2] / "docs" / "asgi" / "mqtt.md"
BEGIN, END = "<!-- drawn from the tables: make schema -->", "<!-- drawn to here -->"

TABLES = {
    "Handshake, server role": handshake.SERVER,
    "Handshake, client role": handshake.CLIENT,
    "QoS 1 and 2, the sender": qos.SENDER,
    "QoS 1, the receiver": qos.RECEIVER_1,
    "QoS 2, the receiver": qos.RECEIVER_2,
}


def diagram(table: Table) -> Iterator[str]:
    """A Mermaid state diagram. Steps that change and answer nothing are in the list below it alone."""
    states = dict.fromkeys([*table, *(step.state for row in table.values() for step in row.values())])
    names = {state: f"s{number}" for number, state in enumerate(states)}
    yield from ("```mermaid", "stateDiagram-v2")
    yield from (f"    {name}: {state}" for state, name in names.items())
    yield f"    [*] --> {names[next(iter(table))]}"
    arrows: dict[tuple[str, str, str], list[str]] = {}
    for state, row in table.items():
        for what, step in row.items():
            if step.state != state or step.answer:
                arrows.setdefault((state, step.state, step.answer), []).append(what)
    for (state, after, answer), causes in arrows.items():
        yield f"    {names[state]} --> {names[after]}: {', '.join(causes)}{f' / {answer}' if answer else ''}"
    yield "```"


def rows(table: Table) -> Iterator[str]:
    yield from ("| state | what comes | then | answer | rule |", "|---|---|---|---|---|")
    for state, row in table.items():
        for what, step in row.items():
            yield f"| {state} | {what} | {step.state} | {step.answer} | {step.rule} |"


def drawn() -> str:
    """What the page has between its two marks."""
    lines = [BEGIN]
    for title, table in TABLES.items():
        lines += ["", f"### {title}", "", *diagram(table), "", *rows(table)]
    return "\n".join([*lines, "", END])


def with_diagrams(page: str) -> str:
    """``page`` with the diagrams of now."""
    before, _, rest = page.partition(BEGIN)
    return before + drawn() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_diagrams(PAGE.read_text()))
