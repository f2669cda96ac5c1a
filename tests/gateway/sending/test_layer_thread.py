"""The channel layer of a process without a gateway."""

import os
import subprocess
import sys

from layer_contract import socket_folder
from servers.site import ROOT

PROGRAM = """
import sys
from pathlib import Path

from gateway.layers.ipc import ipc_layer
from gateway.sending import layer_thread

layer_thread.PATIENCE = 0.0
layer_thread.LayerThread(lambda: ipc_layer(Path(sys.argv[1])))
"""


def test_a_layer_that_takes_too_long_to_close_is_left_without_a_traceback() -> None:
    with socket_folder() as folder:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder / "layer.sock")],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
