"""The example of docs/exactly-once.md, with the test that the page shows."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until
from test_snippets import ROOT, snippets, write_files

PAGE = ROOT / "docs" / "exactly-once.md"


async def test_the_page_s_test_passes_on_the_page_s_handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(PAGE, tmp_path)
    monkeypatch.chdir(tmp_path)
    [shown] = [each.text for each in snippets(PAGE) if "async def test_" in each.text]
    (tmp_path / "shown.py").write_text(shown)
    await runpy.run_path(str(tmp_path / "shown.py"))["test_a_reading_is_a_row"]()


def test_the_five_minutes_give_the_rows_that_the_page_says(tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    file = tmp_path / "gateway.yaml"
    file.write_text(file.read_text().replace(":1883", f":{free_port()}"))
    section = PAGE.read_text().partition("## In five minutes")[2].partition("\n## ")[0]
    commands = [
        shlex.split(line, comments=True)
        for block in re.findall("```sh\n(.*?)```", section, re.DOTALL)
        for line in block.splitlines()
    ]
    (table, rows) = [words for words in commands if words[0] == "python"]
    (tmp_path / "var").mkdir()
    subprocess.run([sys.executable, *table[1:]], cwd=tmp_path, check=True)
    daemon = Daemon(tmp_path)
    try:
        daemon.says("ready")
        for words in [words for words in commands if words[:2] == ["gateway", "send"]]:
            assert "acknowledged" in run(tmp_path, *words[1:]).stdout
        look = [sys.executable, *rows[1:]]
        until(
            lambda: subprocess.check_output(look, cwd=tmp_path, text=True) == "('sensors/kitchen/temperature', 21.5)\n",
            lambda: daemon.text,
        )
        assert "1 message" in run(tmp_path, "waiting").stdout
    finally:
        daemon.close()
