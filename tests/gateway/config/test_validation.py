"""Settings are checked with any version of pydantic that the project allows."""

from collections.abc import Iterator

import pytest

from gateway.config import validation
from gateway.config.validation import ValidationError, validated

SERVERS = {"web": {"protocol": "http", "bind": "127.0.0.1:8000"}}


@pytest.fixture
def _schemas_of_another_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(validation, "core_schema", lambda type_: {"type": "in words that it does not know"})
    validation._validator.cache_clear()
    yield
    validation._validator.cache_clear()


@pytest.mark.usefixtures("_schemas_of_another_version")
def test_pydantic_composes_what_this_version_of_its_core_cannot_read() -> None:
    assert validated({"servers": SERVERS, "threads": 3}).threads == 3
    with pytest.raises(ValidationError):
        validated({"servers": SERVERS, "threads": "many"})
