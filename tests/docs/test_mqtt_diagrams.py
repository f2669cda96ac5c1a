"""The diagrams of docs/asgi/mqtt.md say what the tables say."""

from tooling.mqtt_diagrams import BEGIN, END, PAGE, TABLES, with_diagrams


def test_the_page_has_the_diagrams_of_the_tables() -> None:
    page = PAGE.read_text()
    assert page.count(BEGIN) == page.count(END) == 1
    assert with_diagrams(page) == page, "make schema draws them again"


def test_every_step_of_every_table_is_on_the_page() -> None:
    page = PAGE.read_text()
    steps = [
        (state, what, step) for table in TABLES.values() for state, row in table.items() for what, step in row.items()
    ]
    assert len(steps) > 40
    assert all(f"| {state} | {what} | {step.state} | {step.answer} |" in page for state, what, step in steps)
