"""The example's helpdesk: which ticket a mail belongs to, and what the team writes back."""

import contextlib
import email
import io
import smtplib
import sqlite3
import zipfile
from email.message import EmailMessage, Message

import httpx
import pytest
from servers.postfix_relay import relay
from servers.site import PATIENCE, Site, until
from servers.site_visitor import event, letter, signed_in, write

HELP = "help@support.example.org"
WRITER = (
    "from django.contrib.auth.models import User;"
    "User.objects.create_user('writer', password='secret-writer', is_staff=True)"
)


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


def test_the_first_mail_of_a_thread_is_kept_whole_and_shown_as_text(site: Site) -> None:
    passed_on = (
        "Can you help him?\n\n---------- Forwarded message ---------\nFrom: Max <max@whole.example>\n\n<b>17</b>"
    )
    write(site, letter("fay@whole.example", "Fwd: order", passed_on))
    number = number_of(site, "fay@whole.example")
    [(text,)] = site.rows("SELECT text FROM helpdesk_mail WHERE ticket_id = ? AND kind = 'person'", number)
    assert text == "Can you help him?"
    with signed_in(site) as browser:
        page = browser.get(f"/tickets/{number}/").text
    assert "&lt;b&gt;17&lt;/b&gt;" in page
    assert "<b>17</b>" not in page


def test_the_person_who_filled_in_a_contact_form_gets_the_answers(site: Site) -> None:
    write(site, letter("noreply@form.example", "Contact", Reply_To="Carl <carl@form.example>"))
    number = number_of(site, "carl@form.example")
    with signed_in(site) as browser:
        post(browser, number, text="Hello, Carl.")
    told, answer = answers(site, "carl@form.example", 2)
    assert "Hello, Carl." in answer.get_payload()
    write(site, letter("carl@form.example", "Re: Contact", "Thanks", In_Reply_To=str(told["message-id"])))
    assert mails(site, number)[-1] == ("person", "carl@form.example")
    assert site.answers("noreply@form.example") == []


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


def test_a_mail_server_that_cannot_deliver_the_teams_answer_tells_the_ticket(site: Site) -> None:
    tried = len(site.answers("@nowhere.example.org"))
    nobody = f"jim-{tried}@nowhere.example.org"  # the site has no such recipient, so it refuses him
    number, _ = opened(site, nobody, "Mistyped")
    with signed_in(site) as browser:
        post(browser, number, text="Do you get this?", close="1")
    answer = answers(site, nobody, 2)[1]
    with relay("smtp", site.smtp) as postfix, smtplib.SMTP("127.0.0.1", postfix.port, timeout=PATIENCE) as client:
        client.sendmail(HELP, [nobody], answer.as_bytes())
        until(
            lambda: mails(site, number)[-1][0] == "bounce",
            lambda: f"Postfix's bounce is noted\n{postfix.log()}\n{site.output()}",
            2 * PATIENCE,
        )
    assert closed(site, number)


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


def pdfs(sender: str, **headers: str) -> EmailMessage:
    """Two files whose names Django's storage writes alike."""
    mail = letter(sender, "Papers", **headers)
    for name in ("a b.pdf", "a_b.pdf"):
        mail.add_attachment(name.encode(), maintype="application", subtype="pdf", filename=name)
    return mail


def stored(site: Site) -> set[str]:
    """The files with these names, wherever they are."""
    return {str(path.relative_to(site.folder / "data/media")) for path in site.folder.glob("data/media/**/a*b.pdf")}


def test_a_mail_that_comes_again_leaves_no_file_that_no_row_knows(site: Site) -> None:
    mail = pdfs("pam@pdf.example", Message_ID="<pdf@pdf.example>", Date=email.utils.formatdate())
    fails = "CREATE TRIGGER fails BEFORE INSERT ON helpdesk_attachment WHEN NEW.name = 'a_b.pdf'"
    with contextlib.closing(sqlite3.connect(site.database, timeout=PATIENCE)) as database:
        database.execute(f"{fails} BEGIN SELECT raise(ABORT, 'the disk is full'); END")
        with pytest.raises(smtplib.SMTPDataError):
            write(site, mail)
        database.execute("DROP TRIGGER fails")
    assert stored(site)
    write(site, mail)
    files = {name for (name,) in site.rows("SELECT file FROM helpdesk_attachment WHERE name LIKE 'a%b.pdf'")}
    assert stored(site) == files
    assert len(files) == 2
    delete(site, number_of(site, "pam@pdf.example"))
    assert stored(site) == set()  # a ticket's files are deleted with it


def delete(site: Site, number: int) -> None:
    with signed_in(site) as browser:
        form = {"post": "yes", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        assert browser.post(f"/admin/helpdesk/ticket/{number}/delete/", data=form).status_code == 200


def test_staff_who_may_not_change_tickets_may_not_read_them(site: Site) -> None:
    number, _ = opened(site, "ned@staff.example", "Confidential")
    site.manage("shell", "-c", WRITER)
    with httpx.Client(base_url=site.url(""), follow_redirects=True, timeout=PATIENCE) as browser:
        browser.get("/admin/login/")
        form = {"username": "writer", "password": "secret-writer", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post("/admin/login/?next=/admin/", data=form)
        assert browser.get(f"/tickets/{number}/").status_code == 403
        assert browser.get("/attachments/1/").status_code == 403


# The team answers.


def test_the_team_answers_and_closes_from_the_page_of_a_ticket(site: Site) -> None:
    number, _ = opened(site, "kim@team.example", "Please help")
    with signed_in(site) as browser, site.websocket("/live/") as live:
        assert post(browser, number, text="Try it off and on again.", close="1").status_code == 200
        shown = event(live, "ticket", id=number)
        assert (shown["closed"], shown["answer"]) == (True, "Try it off and on again.")
    _, answer = answers(site, "kim@team.example", 2)
    assert answer["subject"] == f"Re: Please help [#{number}]"
    assert answer["in-reply-to"] == "<Please-help@first.example>"
    assert (answer["from"], answer["auto-submitted"]) == (HELP, None)
    assert "off and on" in answer.get_payload()
    write(site, letter("kims-boss@team.example", "I answer for Kim"), to=str(answer["reply-to"]))
    assert mails(site, number)[-1] == ("person", "kims-boss@team.example")
    write(site, letter("kim@team.example", "It works", References=str(answer["message-id"])))
    assert mails(site, number)[-1] == ("person", "kim@team.example")
    assert not closed(site, number)


def test_a_button_that_is_pressed_twice_sends_one_answer(site: Site) -> None:
    number, _ = opened(site, "una@twice.example", "Double click")
    with signed_in(site) as browser:
        post(browser, number, text="Once.")
        post(browser, number, text="Once.")
        post(browser, number, text="Twice.")
    answers(site, "una@twice.example", 3)
    assert [kind for kind, _ in mails(site, number)] == ["person", "ours", "ours", "ours"]


def test_an_answer_to_what_is_no_address_is_not_lost(site: Site) -> None:
    site.mail(b"From: a@b@c.example\r\nSubject: Odd\r\n\r\nHi\r\n", sender="odd@odd.example", to=HELP)
    with signed_in(site) as browser:
        number = number_of(site, "a@b@c.example")
        page = post(browser, number, text="Hello, whoever you are.")
    assert page.status_code == 400
    assert "Not sent: " in page.text
    assert "Hello, whoever you are.</textarea>" in page.text
    assert mails(site, number) == [("person", "a@b@c.example")]


def test_answers_never_go_to_an_address_of_ours(site: Site) -> None:
    write(site, letter("own@own.example", "Loop", Reply_To=HELP.upper()))
    assert number_of(site, "own@own.example")


def test_the_team_answers_from_the_admin(site: Site) -> None:
    number, _ = opened(site, "lea@admin.example", "And me")
    with signed_in(site) as browser, site.websocket("/live/") as live:
        form = {"subject": "And me", "sender": "lea@admin.example", "address": HELP, "closed": "on"}
        form |= {"answer": "You too.", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        form |= {"mails-TOTAL_FORMS": "0", "mails-INITIAL_FORMS": "0"}
        browser.post(f"/admin/helpdesk/ticket/{number}/change/", data=form)
        assert event(live, "ticket", id=number)["closed"]
    assert "You too." in answers(site, "lea@admin.example", 2)[1].get_payload()
