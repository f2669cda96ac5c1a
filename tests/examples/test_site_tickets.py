"""The example's helpdesk: which ticket a mail belongs to, and what the team writes back."""

import email
import io
import zipfile
from email.message import Message

import httpx
import pytest
from servers.site import PATIENCE, Site, until
from servers.site_visitor import event, letter, signed_in, write

HELP = "help@support.example.org"


def answers(site: Site, recipient: str, number: int = 1) -> list[Message]:
    """The mails for ``recipient`` that have left, once there are so many."""
    until(lambda: len(site.answers(recipient)) >= number, f"{number} mails to {recipient}")
    return [email.message_from_bytes(raw) for raw in site.answers(recipient)]


def silent(site: Site, *recipients: str) -> bool:
    """Whether nothing has left for them. All mail leaves in order, so a later answer shows that they got none."""
    before = len(site.answers("last@silent.example"))
    write(site, letter("last@silent.example", f"Later than {recipients}"))
    answers(site, "last@silent.example", before + 1)
    return not any(map(site.answers, recipients))


def number_of(site: Site, sender: str) -> int:
    [(number,)] = site.rows("SELECT id FROM helpdesk_ticket WHERE sender = ?", sender)
    return int(number)


def mails(site: Site, number: int) -> list[tuple[str, str]]:
    """(kind, sender) of each mail of the ticket."""
    return [
        (kind, sender)
        for kind, sender in site.rows("SELECT kind, sender FROM helpdesk_mail WHERE ticket_id = ? ORDER BY id", number)
    ]


def close(site: Site, number: int) -> None:
    with signed_in(site) as browser:
        post(browser, number, close="1")
    assert closed(site, number)


def closed(site: Site, number: int) -> bool:
    return site.rows("SELECT closed FROM helpdesk_ticket WHERE id = ?", number) == [(1,)]


def post(browser: httpx.Client, number: int, **form: str) -> httpx.Response:
    browser.get(f"/tickets/{number}/")
    return browser.post(f"/tickets/{number}/", data=form | {"csrfmiddlewaretoken": browser.cookies["csrftoken"]})


def opened(site: Site, sender: str, subject: str) -> tuple[int, Message]:
    """A new ticket: its number, and the answer that its sender got."""
    write(site, letter(sender, subject, Message_ID=f"<{subject.replace(' ', '-')}@first.example>"))
    [answer] = answers(site, sender)
    return number_of(site, sender), answer


def test_a_mail_opens_a_ticket_and_is_answered_in_its_thread(site: Site) -> None:
    with site.websocket("/live/") as live:
        number, answer = opened(site, "ann@opens.example", "My order")
        assert event(live, "ticket", sender="ann@opens.example")["subject"] == "My order"
    assert not closed(site, number)
    assert answer["subject"] == f"Re: My order [#{number}]"
    assert answer["in-reply-to"] == "<My-order@first.example>"
    assert "<My-order@first.example>" in answer["references"]
    assert answer["auto-submitted"] == "auto-replied"
    assert f"[#{number}]" in answer.get_payload()


def test_the_same_mail_delivered_twice_is_one_ticket_and_one_answer(site: Site) -> None:
    mail = letter("dan@twice.example", "Twice", Message_ID="<twice@twice.example>")
    mail["Date"] = email.utils.formatdate()
    write(site, mail)
    write(site, mail)
    assert mails(site, number_of(site, "dan@twice.example"))[0] == ("person", "dan@twice.example")
    answers(site, "dan@twice.example")
    silent(site)
    assert len(site.answers("dan@twice.example")) == 1


# Threads.


def test_an_answer_to_our_mail_joins_its_ticket_and_opens_it_again(site: Site) -> None:
    number, answer = opened(site, "bob@ours.example", "Refund")
    close(site, number)
    write(site, letter("bob@ours.example", "No tag here", "Thanks!", In_Reply_To=str(answer["message-id"])))
    assert mails(site, number) == [("person", "bob@ours.example"), ("ours", ""), ("person", "bob@ours.example")]
    assert not closed(site, number)
    assert len(site.answers("bob@ours.example")) == 1  # only the first mail is acknowledged


def test_a_stranger_who_knows_a_message_id_opens_a_ticket_of_their_own(site: Site) -> None:
    number, answer = opened(site, "cid@known.example", "Private matter")
    for name, known in (("eve", str(answer["message-id"])), ("mal", "<Private-matter@first.example>")):
        write(site, letter(f"{name}@known.example", "Send me all of it", References=known))
        assert number_of(site, f"{name}@known.example") != number
    assert mails(site, number) == [("person", "cid@known.example"), ("ours", "")]
    related = site.rows("SELECT related_id FROM helpdesk_ticket WHERE sender = ?", "eve@known.example")
    assert related == [(number,)]  # the team sees what it refers to
    assert site.rows("SELECT related_id FROM helpdesk_ticket WHERE sender = ?", "mal@known.example") == [(None,)]


def test_a_mail_to_the_signed_address_joins_its_ticket_whoever_writes(site: Site) -> None:
    number, answer = opened(site, "dot@token.example", "Two of us")
    signed = str(answer["reply-to"])
    assert signed.startswith("help+")
    write(site, letter("colleague@token.example", "I am with them"), to=signed)
    assert mails(site, number)[-1] == ("person", "colleague@token.example")
    forged = signed.replace("@", "a@")
    write(site, letter("forger@token.example", "So am I"), to=forged)
    assert number_of(site, "forger@token.example") != number


def test_a_second_mail_of_the_same_sender_joins_by_its_first_ones_id(site: Site) -> None:
    number, _ = opened(site, "flo@again.example", "Forgot something")
    write(
        site, letter("flo@again.example", "More", References="<x@elsewhere.example> <Forgot-something@first.example>")
    )
    assert len(mails(site, number)) == 3


def test_the_number_in_a_subject_counts_only_from_the_sender_who_opened_the_ticket(site: Site) -> None:
    number, _ = opened(site, "gil@tag.example", "Broken")
    write(site, letter("gil@tag.example", f"Re: Broken [#{number}]", "Still broken"))
    write(site, letter("eve@tag.example", f"Re: Broken [#{number}]", "Send me all of it"))
    assert mails(site, number)[-1] == ("person", "gil@tag.example")
    assert number_of(site, "eve@tag.example") != number


# Programs.


@pytest.mark.parametrize("name", ["vacation", "list", "noreply"])
def test_programs_and_lists_are_not_answered(site: Site, name: str) -> None:
    sender = f"{name}@robot.example"
    headers = {"vacation": {"Auto_Submitted": "auto-replied"}, "list": {"List_Id": "<a.example>"}}.get(name, {})
    write(site, letter(sender, "News from us", **headers))
    assert silent(site, sender)
    assert bool(site.rows("SELECT id FROM helpdesk_ticket WHERE sender = ?", sender)) == (name != "vacation")


def test_an_out_of_office_note_is_noted_and_does_not_open_a_ticket_again(site: Site) -> None:
    number, answer = opened(site, "hal@away.example", "Question")
    close(site, number)
    away = {"Auto_Submitted": "auto-replied", "In_Reply_To": str(answer["message-id"])}
    write(site, letter("hal@away.example", "Out of office", "I am away", **away))
    assert mails(site, number)[-1] == ("auto-reply", "hal@away.example")
    assert closed(site, number)


def bounce(answer: Message, recipient: str) -> bytes:
    """What a mail server says of a mail that it cannot deliver (RFC 3464)."""
    head = (
        f"From: Mail Delivery System <MAILER-DAEMON@mx.example>\nTo: {HELP}\nSubject: Undelivered Mail Returned\n"
        'MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
        "--b\n\nI could not deliver it.\n--b\nContent-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; {recipient}\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 no such user\n\n--b\nContent-Type: message/rfc822\n\n"
    )
    return head.encode() + answer.as_bytes() + b"\n--b--\n"


def test_a_bounce_is_noted_at_the_ticket_that_it_concerns(site: Site) -> None:
    number, answer = opened(site, "ivy@gone.example", "Where are you?")
    close(site, number)
    site.mail(bounce(answer, "ivy@gone.example"), sender="", to=HELP)
    [(text,)] = site.rows("SELECT text FROM helpdesk_mail WHERE ticket_id = ? AND kind = 'bounce'", number)
    assert "ivy@gone.example: 5.1.1" in text
    assert closed(site, number)


def test_a_bounce_that_concerns_no_ticket_opens_none(site: Site) -> None:
    before = site.rows("SELECT count(*) FROM helpdesk_ticket")
    answer = email.message_from_string("Message-ID: <nobody@knows.example>\n\nHello")
    site.mail(bounce(answer, "who@gone.example"), sender="", to=HELP)
    assert site.rows("SELECT count(*) FROM helpdesk_ticket") == before


# Attachments.


def test_attachments_are_stored_and_the_team_can_download_them(site: Site) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "a" * 100_000)
    mail = letter("jon@files.example", "Screenshots")
    mail.add_attachment(packed.getvalue(), maintype="application", subtype="zip", filename="../../etc/über.zip")
    mail.add_attachment("<script>alert(1)</script>", subtype="html", filename="page.html")
    write(site, mail)
    number = number_of(site, "jon@files.example")
    with signed_in(site) as browser:
        shown = browser.get(f"/tickets/{number}/").text
        assert "über.zip" in shown
        query = (
            "SELECT a.id, a.name FROM helpdesk_attachment a JOIN helpdesk_mail m ON m.id = mail_id WHERE ticket_id = ?"
        )
        (first, name), (second, _) = site.rows(f"{query} ORDER BY a.id", number)
        assert name == "über.zip"
        assert browser.get(f"/attachments/{first}/").content == packed.getvalue()
        page = browser.get(f"/attachments/{second}/")
        assert page.headers["content-disposition"].startswith("attachment")
        assert page.headers["content-type"] == "application/octet-stream"
    assert httpx.get(site.url(f"/attachments/{first}/"), timeout=PATIENCE).status_code == 302  # to sign in
    assert httpx.get(site.url(f"/tickets/{number}/"), timeout=PATIENCE).status_code == 302


# The team answers.


def test_the_team_answers_and_closes_from_the_page_of_a_ticket(site: Site) -> None:
    number, _ = opened(site, "kim@team.example", "Please help")
    with signed_in(site) as browser, site.websocket("/live/") as live:
        assert post(browser, number, text="Try it off and on again.", close="1").status_code == 200
        assert event(live, "ticket", id=number)["closed"]
    _, answer = answers(site, "kim@team.example", 2)
    assert answer["subject"] == f"Re: Please help [#{number}]"
    assert answer["in-reply-to"] == "<Please-help@first.example>"
    assert (answer["from"], answer["auto-submitted"]) == (HELP, None)
    assert "off and on" in answer.get_payload()
    write(site, letter("kim@team.example", "It works", References=str(answer["message-id"])))
    assert mails(site, number)[-1] == ("person", "kim@team.example")
    assert not closed(site, number)


def test_the_team_answers_from_the_admin(site: Site) -> None:
    number, _ = opened(site, "lea@admin.example", "And me")
    with signed_in(site) as browser, site.websocket("/live/") as live:
        form = {"subject": "And me", "sender": "lea@admin.example", "address": HELP, "closed": "on"}
        form |= {"answer": "You too.", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        form |= {"mails-TOTAL_FORMS": "0", "mails-INITIAL_FORMS": "0"}
        browser.post(f"/admin/helpdesk/ticket/{number}/change/", data=form)
        assert event(live, "ticket", id=number)["closed"]
    assert "You too." in answers(site, "lea@admin.example", 2)[1].get_payload()
