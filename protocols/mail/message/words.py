"""Lists of words, as they are written in the modules that use them."""


def words(text: str, between: str | None = None) -> frozenset[str]:
    """Return what stands in ``text`` between white space, or between ``between``."""
    return frozenset(filter(None, (word.strip() for word in text.split(between))))
