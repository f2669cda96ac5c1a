"""Whom a handler's answer goes to, who gets none, what is forwarded, and under which ids all of that leaves."""

import email
import logging
import re
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from conversation import scope
from own_services import installed

from gateway import AsyncEmailConsumer, EmailConsumer
from gateway.consumers.answer_rate import MOST, PERIOD, AnswerRate
from gateway.consumers.answering import Answering, answering
from protocols.mail.compose.reply_token import ReplyTokens
from protocols.mail.headers import parse_headers
from protocols.mail.run import EmailRun
from protocols.secret import Secret

LIMIT = 10.0
HELP, ANN = "help@example.org", "ann@example.com"
MAIL = b"Subject: It does not print\r\nMessage-ID: <1@example.com>\r\n\r\nHelp!\r\n"
FROM = b"From: Ann Lee <ann@example.com>\r\n"


class Taken:
    """What was submitted."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], EmailMessage, bytes]] = []
        self.asked: list[Any] = []

    async def submit(self, mail_from: str, rcpt_to: Any, message: bytes, *, dsn: Any = None) -> None:
        self.asked.append(dsn)
        parsed = email.message_from_bytes(message, policy=default)
        assert isinstance(parsed, EmailMessage)
        self.mails.append((mail_from, list(rcpt_to), parsed, message))


async def handled(receive: Any, raw: bytes = FROM + MAIL, *, sync: bool = False, **envelope: Any) -> tuple[Any, Taken]:
    """What ``receive`` returned for one mail, and what it has sent. It is called as the method of a consumer."""
    returned: list[Any] = []

    class Sync(EmailConsumer):
        def receive(self, message: Any) -> None:
            returned.append(receive(self))

    class Async(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            result = receive(self)
            returned.append(await result if hasattr(result, "__await__") else result)

    taken = Taken()
    consumer: Any = Sync if sync else Async
    given = scope("email", **{"listener": "mail", "mailbox": None, "headers": parse_headers(raw)} | envelope)
    run = EmailRun(consumer.as_asgi(), given, raw, taken, LIMIT)
    if (error := await run.run()) is not None:
        raise error
    return returned[0], taken


def thanks(consumer: Any) -> Any:
    return consumer.reply("Thank you.")


SRS = "SRS0=Xy1=Qk=example.com=ann@forwarder.example"
ADDRESSED = {
    "a mail-sending service's return path is nobody": (FROM, "bounces+12-ab@em.sendgrid.example", [ANN]),
    "a sender that a forwarder has rewritten (SRS) is no program": (FROM, SRS, [ANN]),
    "a contact form is answered where it says": (
        b"From: Shop <noreply@shop.example>\r\nReply-To: Bob <bob@example.net>\r\n",
        "www-data@shop.example",
        ["bob@example.net"],
    ),
    "several addresses of Reply-To are all answered": (
        FROM + b"Reply-To: a@x.org, =?utf-8?q?B=C3=A9?= <b@x.org>\r\n",
        ANN,
        ["a@x.org", "b@x.org"],
    ),
    "our own address in Reply-To is left out": (FROM + b"Reply-To: help@example.org, a@x.org\r\n", ANN, ["a@x.org"]),
    "a Reply-To that is ours alone, with a tag, does not count": (
        FROM + b"Reply-To: HELP+x@example.org\r\n",
        ANN,
        [ANN],
    ),
    "an empty Reply-To does not count": (FROM + b"Reply-To:\r\n", ANN, [ANN]),
    "a Reply-To of very many does not count": (
        FROM + b"Reply-To: " + b", ".join(b"v%d@x.org" % number for number in range(11)) + b"\r\n",
        ANN,
        [ANN],
    ),
    "Sender is never answered": (FROM + b"Sender: secretary@example.com\r\n", "secretary@example.com", [ANN]),
    "a mail without From is answered at its envelope": (b"", ANN, [ANN]),
}


@pytest.mark.parametrize(("fields", "mail_from", "to"), ADDRESSED.values(), ids=ADDRESSED)
async def test_an_answer_goes_where_a_person_reads_it(fields: bytes, mail_from: str, to: list[str]) -> None:
    _, taken = await handled(thanks, fields + MAIL, mail_from=mail_from)
    [(sender, recipients, answer, _)] = taken.mails
    assert (sender, recipients) == ("", to)
    assert [each.addr_spec for each in answer["To"].addresses] == to
    names = {each.addr_spec: each.display_name for each in answer["To"].addresses}
    assert {"Ann Lee", "Bob", "Bé", ""} >= set(names.values())
    assert answer["From"].addresses[0].addr_spec == HELP


UNANSWERED = {
    "our own address writes to us": (b"From: Help <help@example.org>\r\n", HELP, "is our own|is from our own address"),
    "our own address with a tag": (b"From: help+17@example.org\r\n", "help+17@example.org", "our own"),
    "a service made it (X-Auto-Generated)": (FROM + b"X-Auto-Generated: true\r\n", ANN, "is automatic itself"),
    "it failed to reach somebody (X-Failed-Recipients)": (FROM + b"X-Failed-Recipients: x@y.z\r\n", ANN, "is a bounce"),
    "it has been here before (X-Loop)": (FROM + b"X-Loop: <help@example.org>\r\n", ANN, "is our own"),
    "its return path is null": (FROM, "", "null return path"),
    "a mail system wrote it": (b"From: MAILER-DAEMON@example.com\r\n", "x@example.com", "mail system|is a bounce"),
    "a mail system sent it": (FROM, "postmaster@example.com", "mail system|is a bounce"),
    "it is from a list": (FROM + b"List-Id: <x>\r\nReply-To: list@example.com\r\n", ANN, "is from a list"),
    "it is bulk": (FROM + b"Precedence: junk\r\n", ANN, "is bulk mail|is automatic|is from a list"),
    "it asks for no answer": (FROM + b"X-Auto-Response-Suppress: OOF\r\n", ANN, "asks for no automatic answer"),
    "nobody reads its From": (
        b"From: <do-not-reply@example.com>\r\n",
        "x@example.com",
        "nobody whom a program may answer",
    ),
    "nobody reads its Reply-To": (FROM + b"Reply-To: no-reply@x.org\r\n", ANN, "nobody whom a program may answer"),
    "it has neither From nor a sender of its own": (b"", SRS, "nobody whom a program may answer"),
}


@pytest.mark.parametrize(("fields", "mail_from", "why"), UNANSWERED.values(), ids=UNANSWERED)
async def test_who_gets_no_answer_and_that_the_log_says_why(
    fields: bytes, mail_from: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    returned, taken = await handled(thanks, fields + MAIL, mail_from=mail_from)
    assert (returned, taken.mails) == ("", [])
    [line] = [record.getMessage() for record in caplog.records if "not answered" in record.getMessage()]
    assert re.search(f"not answered: it ({why})|not answered: it .*({why})", line)
    assert (await handled(lambda consumer: consumer.answerable, fields + MAIL, mail_from=mail_from))[0] is False


ENVELOPE = {
    "the same address": (FROM, ANN, [ANN]),
    "a subdomain of the author's": (FROM, "ann@mail.example.com", ["ann@mail.example.com"]),
    "From is another's": (FROM, "ann@evil.example", []),
    "a return path of SRS": (FROM, "SRS0=x=y=z=ann@example.com", []),
    "a return path of VERP": (FROM, "news-17=bob=x.org@example.com", []),
    "Amazon's": (b"From: a@amazonses.com\r\n", "0100018f-1234-0000@eu.amazonses.com", []),
    "Reply-To does not count": (FROM + b"Reply-To: bob@example.net\r\n", ANN, [ANN]),
}


@pytest.mark.parametrize(("fields", "mail_from", "to"), ENVELOPE.values(), ids=ENVELOPE)
async def test_a_route_can_ask_for_the_envelope_s_sender(fields: bytes, mail_from: str, to: list[str]) -> None:
    """RFC 3834, section 4: for acknowledgements, and only if it is the author's."""
    extensions = {"reply": {"to": "envelope"}}
    _, taken = await handled(thanks, fields + MAIL, mail_from=mail_from, extensions=extensions)
    assert [mail[1] for mail in taken.mails] == ([to] if to else [])


async def test_a_handler_names_whom_it_answers_and_never_itself() -> None:
    _, taken = await handled(
        lambda consumer: consumer.reply("x", to=["Bob <bob@x.org>", HELP], cc="c@x.org", bcc="d@x.org")
    )
    [(_, recipients, answer, raw)] = taken.mails
    assert recipients == ["bob@x.org", "c@x.org", "d@x.org"]
    assert (str(answer["To"]), str(answer["Cc"])) == ("Bob <bob@x.org>", "c@x.org")
    assert b"d@x.org" not in raw
    assert not (await handled(lambda consumer: consumer.reply("x", to=HELP)))[1].mails


@pytest.mark.parametrize("sync", [False, True])
async def test_an_answer_has_all_that_a_mail_can_have(sync: bool, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF")

    def answer(consumer: Any) -> Any:
        return consumer.reply(
            "Hello",
            html="<p>Hello</p>",
            subject="Ticket 17",
            attachments=[tmp_path / "a.pdf"],
            headers={"X-Ticket": "17", "Auto-Submitted": "no"},
            from_="Support <support@example.org>",
            mail_from="bounces@example.org",
        )

    returned, taken = await handled(answer, sync=sync)
    [(sender, recipients, sent, _)] = taken.mails
    assert (sender, recipients) == ("bounces@example.org", [ANN])
    assert (sent["Subject"], sent["X-Ticket"], sent["Auto-Submitted"]) == ("Ticket 17", "17", "no")
    assert str(sent["From"]) == "Support <support@example.org>"
    assert [part.get_content_type() for part in sent.walk() if not part.is_multipart()] == [
        "text/plain",
        "text/html",
        "application/pdf",
    ]
    assert (sent["Message-ID"], sent["In-Reply-To"]) == (returned, "<1@example.com>")


async def test_an_answer_repeated_has_the_id_that_it_had_and_each_mail_its_own() -> None:
    """A second attempt at a message may send again what has left: it is one mail to its readers then."""

    async def twice(consumer: Any) -> list[str]:
        return [await consumer.reply("one"), await consumer.send("bob@x.org", text="two")]

    extensions = {"event": {"id": "first"}, "delivery": {"id": "0123456789ab"}}
    again = {**extensions, "event": {"id": "second"}}
    first, _ = await handled(twice, extensions=extensions)
    second, taken = await handled(twice, extensions=again)
    other, _ = await handled(twice, extensions=extensions, rcpt_to=["sales@example.org"])  # another group of recipients
    assert first == second == [mail[2]["Message-ID"] for mail in taken.mails]
    assert len({*first, *other}) == 4
    assert all(re.fullmatch(r"<0123456789ab\.\d\.[0-9a-f]{16}@example\.org>", id) for id in first)


def key(*texts: str) -> Any:
    return installed({answering: Answering(ReplyTokens([Secret(text) for text in texts]))})


async def test_an_answer_to_an_answer_brings_its_token() -> None:
    with key("a secret of some length"):
        _, taken = await handled(lambda consumer: consumer.reply("Hello", token="ticket-17"))
        [(_, _, answer, _)] = taken.mails
        [address] = answer["Reply-To"].addresses
        assert address.addr_spec.startswith("help+")

        def look(consumer: Any) -> Any:
            return consumer.token, consumer.token.is_for(ANN), consumer.token.is_for("eve@example.com")

        (token, is_hers, is_eves), _ = await handled(look, rcpt_to=[address.addr_spec])
        assert (token.id, is_hers, is_eves) == ("ticket-17", True, False)
        _, taken = await handled(thanks, rcpt_to=[address.addr_spec])
        assert taken.mails[0][2]["From"].addresses[0].addr_spec == HELP
        (token, *_), _ = await handled(look, b"To: " + address.addr_spec.encode() + b"\r\n" + FROM + MAIL)
        assert token.id == "ticket-17"  # its provider has taken the tag out of the envelope


async def test_a_bounce_comes_to_the_token_that_its_return_path_had() -> None:
    with key("a secret of some length"):

        def sent(consumer: Any) -> Any:
            return consumer.send(ANN, text="Hello", mail_from=consumer.token_address("ticket-17", ANN))

        _, taken = await handled(sent)
        token, _ = await handled(lambda consumer: consumer.token, mail_from="", rcpt_to=[taken.mails[0][0]])
        assert token.id == "ticket-17"


async def test_without_a_secret_a_token_is_an_error_that_says_what_to_write() -> None:
    with pytest.raises(LookupError, match=r"write reply_tokens: \{secret: \.\.\.\} into the gateway's file"):
        await handled(lambda consumer: consumer.reply("Hello", token="17"))
    assert (await handled(lambda consumer: consumer.token))[0] is None


@pytest.mark.parametrize("sync", [False, True])
async def test_a_mail_of_our_own_is_marked_as_automatic(sync: bool) -> None:
    def sent(consumer: Any) -> Any:
        return consumer.send(["Bob <bob@x.org>"], subject="Alarm", text="It burns", reply_to="desk@example.org")

    returned, taken = await handled(sent, sync=sync)
    [(sender, recipients, mail, _)] = taken.mails
    assert (sender, recipients) == ("", ["bob@x.org"])
    assert (mail["Subject"], mail["Auto-Submitted"], mail["In-Reply-To"]) == ("Alarm", "auto-generated", None)
    assert (mail["Message-ID"], str(mail["Reply-To"])) == (returned, "desk@example.org")


async def test_notifications_of_delivery_are_asked_for() -> None:
    asked = {"notify": ["failure"], "ret": "hdrs"}
    for send in (
        lambda consumer: consumer.send("bob@x.org", text="x", mail_from=HELP, dsn=asked),
        lambda consumer: consumer.reply("x", mail_from=HELP, dsn=asked),
        lambda consumer: consumer.forward("bob@x.org", mail_from=HELP, dsn=asked),
        lambda consumer: consumer.send_message(MAIL, ["bob@x.org"], HELP, dsn=asked),
    ):
        assert (await handled(send))[1].asked == [asked]


async def test_a_class_can_have_a_return_path_of_its_own() -> None:
    """Some submission servers refuse the null return path."""

    async def each(consumer: Any) -> None:
        consumer.mail_from = "bounces@example.org"
        await consumer.reply("x")
        await consumer.send("bob@x.org", text="x")
        await consumer.forward("bob@x.org")
        await consumer.reply("x", mail_from="")

    _, taken = await handled(each)
    assert [mail[0] for mail in taken.mails] == ["bounces@example.org"] * 3 + [""]


async def test_postmaster_without_a_domain_is_no_address_to_answer_from() -> None:
    returned, taken = await handled(thanks, rcpt_to=["postmaster"])
    assert (returned, taken.mails) == ("", [])


async def test_a_mail_that_names_no_address_of_ours_needs_from() -> None:
    with pytest.raises(ValueError, match="names none of our addresses; write from_="):
        await handled(lambda consumer: consumer.send("bob@x.org", text="x"), rcpt_to=[])
    _, taken = await handled(lambda consumer: consumer.send("bob@x.org", text="x", from_=HELP), rcpt_to=[])
    assert len(taken.mails) == 1


@pytest.mark.parametrize("sync", [False, True])
async def test_a_forwarded_mail_is_attached_as_it_is_and_goes_no_second_round(
    sync: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    raw = b"DKIM-Signature: v=1\r\n" + FROM + b"Subject: Gr\xfc\xdfe\r\nMessage-ID: <1@example.com>\r\n\r\n\xff\r\n"

    def on(consumer: Any) -> Any:
        return consumer.forward("second@x.org", text="Please look", cc="boss@x.org")

    returned, taken = await handled(on, raw, sync=sync)
    [(sender, recipients, mail, sent)] = taken.mails
    assert (sender, recipients) == ("", ["second@x.org", "boss@x.org"])
    assert raw in sent
    assert (mail["Message-ID"], mail["X-Loop"], mail["References"]) == (returned, HELP, "<1@example.com>")
    [text, attached] = mail.iter_parts()
    assert text.get_content() == "Please look\r\n"
    assert attached.get_content_type() == "message/rfc822"
    assert not (await handled(on, sent, sync=sync, mail_from="x@x.org"))[1].mails
    assert "not forwarded: it is our own, or has been forwarded from here before" in caplog.text


async def test_a_forwarded_mail_is_marked_with_the_address_that_it_came_to() -> None:
    """Whatever it is from: that is where it would come again."""

    def on(consumer: Any) -> Any:
        return consumer.forward("second@x.org", from_="Nobody <noreply@example.org>")

    _, taken = await handled(on)
    [(_, _, mail, sent)] = taken.mails
    assert (mail["X-Loop"], mail["From"]) == (HELP, "Nobody <noreply@example.org>")
    assert not (await handled(on, sent))[1].mails
    _, taken = await handled(on, rcpt_to=[])
    assert taken.mails[0][2]["X-Loop"] == "noreply@example.org"
    assert not (await handled(on, taken.mails[0][3], rcpt_to=[]))[1].mails


async def test_a_mail_can_be_forwarded_as_text_with_its_attachments() -> None:
    raw = (
        b"From: Ann Lee <ann@example.com>\r\nTo: help@example.org\r\nSubject: Photo\r\n"
        b"Date: Sun, 29 Nov 2026 12:00:00 +0100\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nLook!\r\n--b\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=a.png\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\ncG5n\r\n--b--\r\n"
    )
    _, taken = await handled(lambda consumer: consumer.forward("bob@x.org", text="See below", inline=True), raw)
    [(_, _, mail, _)] = taken.mails
    assert mail["Subject"] == "Fwd: Photo"
    [text, attached] = mail.iter_parts()
    assert text.get_content().replace("\r\n", "\n") == (
        "See below\n\n---------- Forwarded message ----------\nFrom: Ann Lee <ann@example.com>\n"
        "Date: Sun, 29 Nov 2026 12:00:00 +0100\nSubject: Photo\nTo: help@example.org\n\nLook!\n"
    )
    assert (attached.get_filename(), attached.get_content_type(), attached.get_content()) == (
        "a.png",
        "image/png",
        b"png",
    )


async def test_a_mail_s_attachments_can_be_sent_back() -> None:
    raw = FROM + b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\ncGRm\r\n"
    _, taken = await handled(lambda consumer: consumer.reply("yours", attachments=consumer.message.attachments), raw)
    [attached] = taken.mails[0][2].iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("a.pdf", b"pdf")


async def test_a_bounce_or_a_list_s_mail_can_be_forwarded() -> None:
    _, taken = await handled(
        lambda consumer: consumer.forward("x@x.org"), FROM + b"List-Id: <x>\r\n" + MAIL, mail_from=""
    )
    assert len(taken.mails) == 1


async def test_a_sender_gets_so_many_answers_an_hour_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def often(consumer: Any) -> list[str]:
        consumer.answers_per_hour = 3
        return [await consumer.reply(str(number)) for number in range(6)]

    ids, taken = await handled(often, extensions={"event": {"id": "e"}})
    assert (len(taken.mails), ids[3:]) == (3, ["", "", ""])
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "not answered: ann@example.com has had 3 answers within an hour" in line
    ids, taken = await handled(often, extensions={"event": {"id": "e"}})
    assert len(taken.mails) == 3  # the same message again: its answers are counted already


def test_the_rate_forgets_after_an_hour_and_is_bounded() -> None:
    now = 0.0
    rate = AnswerRate(lambda: now)
    assert [rate.over([ANN], str(number), 2) for number in range(4)] == [
        ("", False),
        ("", False),
        (ANN, True),
        (ANN, False),
    ]
    assert rate.over([ANN.upper(), "bob@x.org"], "x", 2) == (ANN, False)
    now = PERIOD
    assert rate.over([ANN], "y", 2) == ("", False)
    for number in range(3 * MOST):
        rate.over([f"{number}@x.org"], "z", 2)
    assert len(rate._recent) == MOST


@pytest.mark.parametrize(
    "call",
    [
        lambda consumer: consumer.reply("x", subjekt="y"),
        lambda consumer: consumer.send(ANN, subjekt="y"),
        lambda consumer: consumer.forward(ANN, subjekt="y"),
    ],
)
async def test_an_argument_that_no_mail_has_is_a_type_error_that_knows_the_right_one(call: Any) -> None:
    with pytest.raises(TypeError, match=r"\(\) got an unexpected keyword argument 'subjekt'; did you mean 'subject'"):
        await handled(call, rcpt_to=[HELP])


async def test_a_forwarded_mail_takes_no_content_of_its_own_but_a_text() -> None:
    with pytest.raises(TypeError, match=r"forward\(\) got an unexpected keyword argument 'html'"):
        await handled(lambda consumer: consumer.forward(ANN, html="<p>"), rcpt_to=[HELP])


async def test_none_stands_for_the_default_and_recipients_may_be_any_iterable() -> None:
    def send(consumer: Any) -> Any:
        nothing = dict.fromkeys(("html", "inline", "headers", "context", "mail_from", "dsn", "subject"))
        with_token = {"token": "7", "from_": HELP}
        return consumer.send((each for each in [ANN, HELP]), text="x", **nothing, **with_token)

    with installed({answering: Answering(ReplyTokens([Secret("s" * 32)]))}):
        _, taken = await handled(send, rcpt_to=[HELP])
    assert (taken.mails[0][0], taken.mails[0][1]) == ("", [ANN, HELP])
