"""What kind of mail it is, by its signs in many languages."""

# ruff: noqa: RUF001  # letters of other scripts are what these tests are about

import pytest

from protocols.mail.message import InboundEmail

PERSON = "From: Ann <ann@example.org>\r\nTo: help@shop.example\r\n"


def kind(head: str, body: str = "Hello.", *, mail_from: str | None = "ann@example.org", **fields: str) -> str:
    raw = f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n".encode()
    return InboundEmail(raw, mail_from=mail_from, rcpt_to=["help@shop.example"]).kind


@pytest.mark.parametrize(
    "fields",
    [
        "Subject: Hello\r\n",
        "Subject: Undelivered mail\r\n",
        "Subject: Re: Undelivered Mail Returned to Sender\r\n",
        "Subject: Fwd: Out of office\r\n",
        "Subject: My out of office does not work\r\n",
        "Auto-Submitted: no\r\n",
        "X-Auto-Response-Suppress: All\r\n",
        "X-Loop: somebody@else.example\r\n",
    ],
)
def test_a_person(fields: str) -> None:
    assert kind(PERSON + fields) == "person"


@pytest.mark.parametrize(
    "subject",
    [
        "Automatic reply: The lamp", "Out of Office: x", "Automatische Antwort: x", "Abwesenheitsnotiz",
        "Réponse automatique : x", "Respuesta automática: x", "Risposta automatica: x", "Resposta automática: x",
        "Automatisch antwoord: x", "Autosvar: x", "Automatisk svar: x", "Automaattinen vastaus: x",
        "Automatyczna odpowiedź: x", "Automatická odpověď: x", "Automatikus válasz: x", "Răspuns automat: x",
        "Otomatik yanıt: x", "Автоматический ответ: x", "Автоматична відповідь: x", "Αυτόματη απάντηση: x",
        "תשובה אוטומטית: x", "رد تلقائي: x", "自動応答: x", "自动回复: x", "自動回覆: x", "자동 회신: x",
        "ตอบกลับอัตโนมัติ: x",
    ],
)  # fmt: skip
def test_an_automatic_answer_by_its_subject(subject: str) -> None:
    assert kind(f"{PERSON}Subject: {subject}\r\n") == "auto-reply"


@pytest.mark.parametrize(
    "field",
    [
        "Auto-Submitted: auto-replied (vacation)",
        "Auto-Submitted: auto-generated",
        "X-Auto-Generated: yes",
        "X-Autoreply: yes",
        "X-Autorespond: On holiday",
        "X-MS-Exchange-Inbox-Rules-Loop: ann@example.org",
        "Precedence: auto_reply",
    ],
)
def test_an_automatic_answer_by_its_header(field: str) -> None:
    assert kind(f"{PERSON}{field}\r\n") == "auto-reply"


def test_the_null_sender_alone_is_automatic() -> None:
    assert kind(PERSON, mail_from="") == "auto-reply"
    assert kind(f"Return-Path: <>\r\n{PERSON}", mail_from=None) == "auto-reply"
    assert kind(f"Return-Path: <>\r\n{PERSON}") == "person"


@pytest.mark.parametrize(
    "subject",
    [
        "Undelivered Mail Returned to Sender", "Delivery Status Notification (Failure)", "Unzustellbar: Die Lampe",
        "Non remis : La lampe", "No se puede entregar: x", "Mancata consegna: x", "Não entregue: x", "Onbestelbaar: x",
        "Olevererat: x", "Kan ikke leveres: x", "Ei voitu toimittaa: x", "Niedostarczone: x", "Nedoručitelné: x",
        "Kézbesíthetetlen: x", "Teslim edilemedi: x", "Не доставлено: x", "配信不能: x", "未能送达: x", "退信",
        "배달되지 않음: x",
    ],
)  # fmt: skip
def test_a_bounce_without_a_report_by_two_signs(subject: str) -> None:
    head = f"From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\r\nSubject: {subject}\r\n"
    assert kind(head, mail_from="x@y.example") == "bounce"
    assert kind(f"{PERSON}Subject: {subject}\r\n", mail_from="") == "bounce"
    assert kind(f"{PERSON}Subject: {subject}\r\n", "550 5.1.1 User unknown") == "bounce"


def test_a_bounce_that_says_it_is_an_automatic_answer() -> None:
    assert kind(f"{PERSON}X-Failed-Recipients: bob@x.org\r\nAuto-Submitted: auto-replied\r\n") == "bounce"


@pytest.mark.parametrize(
    "field", ["List-Id: <x>", "Precedence: bulk", "List-Unsubscribe: <mailto:x@y>", "X-BeenThere: x@y"]
)
def test_lists_and_bulk_mail(field: str) -> None:
    assert kind(f"{PERSON}{field}\r\n") == "list"


@pytest.mark.parametrize(
    "head",
    [
        "From: Help <help@shop.example>\r\n",
        "From: Help <HELP+12@shop.example>\r\n",
        f"{PERSON}X-Loop: help@shop.example\r\n",
    ],
)
def test_a_mail_from_the_address_that_it_is_for_is_our_own(head: str) -> None:
    assert kind(head) == "own"


@pytest.mark.parametrize(
    ("report", "part", "expected"),
    [
        ("delivery-status", "message/delivery-status", "bounce"),
        ("feedback-report", "message/feedback-report", "report"),
        ("disposition-notification", "message/disposition-notification", "report"),
    ],
)
def test_reports(report: str, part: str, expected: str) -> None:
    raw = (
        f"From: x@y.example\r\nContent-Type: multipart/report; report-type={report}; boundary=b\r\n\r\n"
        f"--b\r\n\r\nwords\r\n--b\r\nContent-Type: {part}\r\n\r\nAction: failed\r\n--b--\r\n"
    )
    assert InboundEmail(raw.encode()).kind == expected


def test_a_bounce_that_is_attached_to_a_persons_mail_is_none() -> None:
    inner = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
    head = f"{PERSON}Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nWhat is this?\r\n--a\r\n"
    raw = f"{head}Content-Type: message/rfc822\r\n\r\n{inner}--a--\r\n"
    assert InboundEmail(raw.encode(), mail_from="ann@example.org").kind == "person"
