"""The file of a recording: private, bounded, and read with care."""

import stat
from pathlib import Path

import pytest

from gateway.recording.entry import Damaged, Entry
from gateway.recording.file import Full, Writer, entries

ENTRY = Entry({"id": "7f3a"}, {"type": "sms"}, [{"type": "sms.receive", "text": "hi"}], [])


def test_what_is_written_is_read_even_if_the_last_line_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "traffic"
    with Writer(file, 10_000) as writer:
        writer.write(ENTRY.data())
        writer.write(ENTRY.data())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_bytes(file.read_bytes()[:-5])
    assert list(entries(file)) == [ENTRY]


def test_it_has_a_size(tmp_path: Path) -> None:
    with Writer(tmp_path / "traffic", 1000) as writer, pytest.raises(Full):
        for _ in range(100):
            writer.write(ENTRY.data())
    assert 500 < (tmp_path / "traffic").stat().st_size <= 1000
    assert list(entries(tmp_path / "traffic"))


def test_it_never_replaces_a_file(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(FileExistsError, match="kept exists; choose another name"):
        Writer(tmp_path / "kept", 1000)
    assert (tmp_path / "kept").read_text() == "kept"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: it is no recording of gateway record"),
        ("[]\n", "line 1: it is no recording of gateway record"),
        ("\xff", "line 1: it is no recording of gateway record"),
        ('{"gateway recording": 9}\n', "line 1: it is a recording of version 9, and this gateway reads version 1"),
        ('{"gateway recording": 1}\nx\n', "line 2: it cannot be read"),
        ('{"gateway recording": 1}\n{}\n', "line 2: it is no entry of a recording"),
    ],
)
def test_a_file_that_is_damaged_or_no_recording(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "traffic").write_text(text, encoding="latin-1")
    with pytest.raises(Damaged, match=words):
        list(entries(tmp_path / "traffic"))
