"""The command ``gateway``, and ``python -m gateway``."""

import sys

from gateway.runtime.process import INTERRUPTED


def main() -> None:
    """Load the command and run it. That loads the scope types of other distributions, which may take its time."""
    try:
        from gateway.cli.main import main
    except KeyboardInterrupt as error:
        sys.stderr.write(" ".join(["interrupted", *map(str, error.args)]) + "\n")
        sys.exit(INTERRUPTED)
    main()


if __name__ == "__main__":
    main()
