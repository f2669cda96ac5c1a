"""The example of docs/exactly-once.md, with the test that the page shows."""

import runpy
from pathlib import Path

import pytest
from test_snippets import ROOT, snippets, write_files

PAGE = ROOT / "docs" / "exactly-once.md"


async def test_the_page_s_test_passes_on_the_page_s_handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(PAGE, tmp_path)
    monkeypatch.chdir(tmp_path)
    [shown] = [each.text for each in snippets(PAGE) if "async def test_" in each.text]
    (tmp_path / "shown.py").write_text(shown)
    await runpy.run_path(str(tmp_path / "shown.py"))["test_a_reading_is_a_row"]()
