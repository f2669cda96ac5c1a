"""Run a cluster under load, let things fail, and see that nothing acknowledged is lost."""

import argparse
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster.network import isolated
from cluster.trial import KINDS, Trial


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="which faults, and when")
    parser.add_argument("--hosts", type=int, default=2, help="how many gateways (2)")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="postgresql", help="(postgresql)")
    parser.add_argument(
        "--seconds", type=float, default=15, help="how long things fail (15); each kind does once at least"
    )
    parser.add_argument("--pause", type=float, default=6, help="how long a node sleeps or is cut off, at most (6)")
    parser.add_argument("--every", type=float, default=2, help="seconds from fault to fault (2)")
    parser.add_argument("--rest", type=float, default=0.1, help="seconds that a client waits after an answer (0.1)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="which kinds of faults (all)")
    parser.add_argument("--only", nargs="+", default=[], help="names of the nodes that fail (all)")
    parser.add_argument("--logs", type=Path, help="a folder for the logs of all nodes, if something is wrong")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if os.getpid() != 1:
        return subprocess.run(isolated([sys.executable, "-m", "cluster", *sys.argv[1:]])).returncode
    logging.disable()  # clients are cut off all the time
    folder = Path(tempfile.mkdtemp(prefix="cluster", dir="/tmp"))
    folder.chmod(0o755)  # Dovecot's and PostgreSQL's users pass it
    trial, failures = Trial(folder, given), ["it has not come to its end"]
    try:
        failures = trial.run()
    finally:
        if given.logs and failures:
            keep(folder, given.logs)
        shutil.rmtree(folder, ignore_errors=True)
        sys.stdout.write("\n".join([*trial.report, *(f"FAILED: {each}" for each in failures), ""]))
    return len(failures) > 0


def keep(folder: Path, logs: Path) -> None:
    """Copy what each node has written, and the book."""
    for path in (*folder.glob("*/log"), *folder.glob("book")):
        target = logs / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


if __name__ == "__main__":
    sys.exit(main())
