"""What the standard library writes, by its new and its old classes, the reader gives back."""

from email.message import EmailMessage
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP

from corpus import tidy
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mail.message import InboundEmail

PLAIN = st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"])
LINES = st.lists(st.text(PLAIN, min_size=1, max_size=60), min_size=1, max_size=5).map(
    lambda lines: "\n".join(["Text", *lines])
)
NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=30).map("{}.dat".format)
FILES = st.lists(st.tuples(NAMES, st.binary(max_size=200)), max_size=3, unique_by=lambda file: file[0].casefold())
ENCODINGS = st.sampled_from(["7bit", "8bit", "quoted-printable", "base64"])
QUICK = settings(max_examples=60, deadline=None)


def same(text: str) -> str:
    """Without what lines and HTML do not keep: kinds of white space."""
    return " ".join(text.split())


@QUICK
@given(LINES, LINES, FILES, ENCODINGS, st.text(PLAIN, min_size=1, max_size=60))
def test_the_standard_library_writes(
    text: str, other: str, files: list[tuple[str, bytes]], cte: str, subject: str
) -> None:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = subject
    message["From"] = "Ada Brook <ada@example.org>"
    message.set_content(text, cte=cte if cte != "7bit" or text.isascii() else "8bit")
    message.add_alternative(f"<p>{len(other)}</p>", subtype="html")
    for name, data in files:
        message.add_attachment(data, "application", "x-thing", filename=name)
    read = InboundEmail(message.as_bytes())
    assert same(read.subject) == same(subject)
    assert tidy(read.text) == tidy(text)
    assert f"<p>{len(other)}</p>" in read.html
    assert [(each.filename, each.read()) for each in read.attachments] == files


@QUICK
@given(LINES, LINES, st.sampled_from(["utf-8", "utf-16", "iso-8859-15"]))
def test_the_old_classes_write(text: str, html: str, charset: str) -> None:
    encodable = text.encode(charset, "ignore").decode(charset)
    related = MIMEMultipart("related")
    related.attach(MIMEText(f"<html><body>{len(html)}<img src='cid:one'></body></html>", "html"))
    image = MIMEImage(b"\x89PNG\r\n\x1a\n", "png")
    image["Content-ID"] = "<one>"
    related.attach(image)
    both = MIMEMultipart("alternative")
    both.attach(MIMEText(encodable, "plain", charset))
    both.attach(related)
    read = InboundEmail(both.as_bytes())
    assert tidy(read.text) == tidy(encodable)
    assert [each.inline for each in read.attachments] == [True]
    assert str(len(html)) in read.html
