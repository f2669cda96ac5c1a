"""The levels of single loggers."""

import logging
from collections.abc import Mapping

_NOISY = ("aiohttp", "aioimaplib", "aiosmtplib", "asyncio", "mail.debug", "mail.log")
"""Loggers of libraries that log each connection at level info; aiosmtpd and aioimaplib log its content, too."""


class Levels:
    """Sets levels, and takes them back when others are set."""

    def __init__(self) -> None:
        self._set: dict[str, tuple[int, int]] = {}
        """Name -> its level before, and the one that it was given."""

    def replace(self, levels: Mapping[str, str]) -> None:
        """Set ``levels``, by the loggers' names, in place of those that were set before."""
        for name, (before, given) in self._set.items():
            logger = logging.getLogger(name)
            if logger.level == given:  # else somebody else has set it meanwhile
                logger.setLevel(before)
        self._set.clear()
        for name, level in (dict.fromkeys(_NOISY, "warning") | dict(levels)).items():
            self.change(name, level)

    def shown(self) -> dict[str, str]:
        """Return the levels that were set, but for those that libraries always have."""
        given = {name: logging.getLevelName(level).lower() for name, (_, level) in self._set.items() if name}
        return {name: level for name, level in given.items() if name not in _NOISY or level != "warning"}

    def change(self, name: str, level: str) -> None:
        """Set the level of one logger, until the next :meth:`replace`."""
        logger, given = logging.getLogger(name), logging.getLevelNamesMapping()[level.upper()]
        before = self._set[name][0] if name in self._set else logger.level
        self._set[name] = before, given
        logger.setLevel(given)
