"""A token that another program keeps fresh in a file."""

import os
from pathlib import Path

import pytest

from protocols.mail.oauth.source import TokenRefused
from protocols.mail.oauth.token_file import TokenFile


async def test_the_file_is_read_each_time_and_its_stamp_changes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    source = TokenFile(str(path))
    before = source.stamp()
    assert await source.token() == "first"
    new = tmp_path / "new"
    new.write_text("other")
    os.replace(new, path)
    assert await source.token() == "other"
    assert source.stamp() != before


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file or directory"), (b" \n", "it is empty"), (b"\xff\xfe", "it holds no token")],
)
async def test_a_file_without_a_token_is_told_in_a_sentence(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TokenRefused, match=f"token_file {path}: {said}"):
        await TokenFile(str(path)).token()
    assert (TokenFile(str(path)).stamp() is None) == (content is None)
