"""Whether files and folders can be written, tried without leaving a trace."""

import os
import tempfile
from pathlib import Path


def file_fault(path: Path) -> str:
    """Why the file at ``path`` cannot be read and written; empty if it can, or if there is no file."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def folder_fault(folder: Path, *, made: bool = True) -> str:
    """Why no file can be made in ``folder``; empty if it can. A folder that is not there may be ``made``."""
    above = folder.parents if made else ()
    there = next((each for each in (folder, *above) if os.path.lexists(each)), folder)
    try:
        try_folder(there)
    except OSError as error:
        return f"no file can be made in {there.absolute()}: {error.strerror}; name another folder"
    return ""


def try_folder(folder: Path) -> None:
    """Raises OSError if nothing can be written there: no right, a read-only file system, no room."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:  # it never has a name, or only for an instant
        file.write(b"\0" * 4096)
