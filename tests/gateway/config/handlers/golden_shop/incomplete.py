"""A module that imports one that is not there."""

import golden_missing_library  # type: ignore[import-not-found]  # on purpose  # noqa: F401
