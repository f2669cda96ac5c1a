"""Opens files below a folder, and no others."""

import os
from collections.abc import Sequence
from pathlib import Path

from gateway.scopes.http.static_files.open_file import OpenFile

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # or opening a pipe would wait for its writer


class Folder:
    """All methods block. The folder may be a symbolic link, which is followed anew for each request."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, names: Sequence[str]) -> OpenFile:
        """Open the file below the folder that ``names`` lead to. Symbolic links are followed within the folder only.

        Raises FileNotFoundError, IsADirectoryError, any other OSError, or ValueError for what cannot be a name.
        """
        root, found = self._resolved(names)
        below = os.path.relpath(found, root).split(os.sep) if found != root else []
        return OpenFile(_descend(os.open(root, _FOLDER), below))

    def has(self, names: Sequence[str]) -> bool:
        """Return whether something is there that may be the file. Cheaper than opening it."""
        return os.path.isfile(self._joined(names))

    def _joined(self, names: Sequence[str]) -> str:
        return "/".join([str(self._path), *names])  # a tenth of a Path's time, four times a request

    def _resolved(self, names: Sequence[str]) -> tuple[str, str]:
        root = os.path.realpath(self._path, strict=True)
        found = os.path.realpath(self._joined(names), strict=True)
        if found != root and not found.startswith(root.rstrip(os.sep) + os.sep):
            raise FileNotFoundError("a symbolic link leads out of the folder")
        return root, found


def _descend(folder: int, names: Sequence[str]) -> int:
    """Return a descriptor of what is below ``folder``, a descriptor that is closed. No link is followed: a name may
    have become one since the path was resolved."""
    at = folder
    try:
        for name in names[:-1]:
            above, at = at, os.open(name, _FOLDER, dir_fd=at)
            os.close(above)
        return os.open(names[-1] if names else ".", _FILE, dir_fd=at)
    finally:
        os.close(at)
