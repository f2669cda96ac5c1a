"""The exit codes of the command, which scripts and supervisors rely on."""

OK = 0
FORCED = 1
"""A second signal stopped it, or the command's answer is no."""
MISTAKE = 2
"""The file, or the command line, has a mistake."""
CANNOT_START = 3
INTERRUPTED = 130
"""Ctrl+C ended a command, as shells have it."""


class CommandError(Exception):
    """Ends a command with its message, which is one sentence, and with :attr:`exit_code`."""

    exit_code = FORCED
