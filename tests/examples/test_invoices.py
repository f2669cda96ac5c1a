"""examples/invoices as its reader starts it."""

import shutil
from pathlib import Path

import httpx
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import ROOT, until


def test_a_view_enqueues_a_task_and_another_one_shows_its_result(tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "examples" / "invoices", tmp_path / "invoices")
    port = free_port()
    daemon = Daemon(folder, PORT=str(port))
    try:
        daemon.says(f"127.0.0.1:{port}")
        here = f"http://127.0.0.1:{port}"
        ident = httpx.post(f"{here}/orders/7", timeout=20).raise_for_status().json()["id"]

        def invoice() -> dict[str, str]:
            found: dict[str, str] = httpx.get(f"{here}/invoices/{ident}", timeout=20).raise_for_status().json()
            return found

        until(lambda: invoice()["status"] == "SUCCESSFUL", lambda: daemon.text)
        assert invoice()["file"] == "invoice-7.txt"
        assert (folder / "var" / "invoice-7.txt").read_text() == "Invoice for order 7\n"
        assert "queue invoices" in daemon.text or "shop.tasks.write_invoice" in daemon.text
    finally:
        daemon.close()
