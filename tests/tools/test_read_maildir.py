"""The script that reads a folder of real mails: each mail is counted, nothing is written."""

import mailbox
import shutil
from pathlib import Path

import pytest
from read_maildir import main

CORPUS = Path(__file__).parents[1] / "mail_corpus" / "mails"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_a_folder_of_mails_is_read_without_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mails = list((CORPUS / "bounces").glob("*.eml"))
    for mail in mails:
        shutil.copy(mail, tmp_path)
    output = printed(capsys, str(tmp_path), "--list")
    assert output.startswith(f"{len(mails)} mails")
    assert "raised" not in output
    assert " bounce\n" in output


def test_a_maildir_stays_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = mailbox.Maildir(tmp_path / "mail")
    folder.add(b"Subject: one\r\n\r\nwords\r\n")
    folder.add(b"Subject: two\r\n\r\nwords\r\n")
    before = _files(tmp_path)
    assert printed(capsys, str(tmp_path)).startswith("2 mails")
    assert _files(tmp_path) == before


def test_an_mbox_is_read_mail_by_mail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "archive"
    box = mailbox.mbox(path)
    for number in range(3):
        box.add(f"From: a@b.example\nSubject: number {number}\n\nFrom here on, words {number}.\n")
    box.close()
    before = _files(tmp_path)
    assert printed(capsys, str(path)).startswith("3 mails")
    shown = printed(capsys, str(path), "--show", "1")
    assert "subject:      number 1\n" in shown
    assert "words 1." in shown
    assert _files(tmp_path) == before


def test_a_number_that_is_too_high_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.eml").write_bytes(b"Subject: one\r\n\r\nwords\r\n")
    assert main([str(tmp_path), "--show", "7"]) == 1
    assert capsys.readouterr().err.startswith("There is no mail 7 in ")


def _files(path: Path) -> dict[str, tuple[bytes, int]]:
    return {str(each): (each.read_bytes(), each.stat().st_mtime_ns) for each in path.rglob("*") if each.is_file()}
