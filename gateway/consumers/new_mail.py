"""A mail that a program wants to send: the arguments that every helper for mail takes, in one place."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, TypedDict

from gateway.consumers import arguments
from protocols.asgi import DSNRequest
from protocols.mail.compose import Addresses, Attachable, Content

SMALL = 64 * 1024
"""Characters of text that are written on the loop. More, templates and attachments are written on a thread."""


class HeaderArguments(TypedDict, total=False):
    """The arguments for the header and the envelope of a mail. None stands for the default."""

    subject: str | None
    cc: Addresses
    bcc: Addresses
    """They get the mail, and stand in no header field."""
    reply_to: Addresses
    headers: Mapping[str, str] | None
    """More header fields."""
    from_: str
    mail_from: str | None
    """The envelope's sender: bounces go there, and if it is empty there are none."""
    dsn: DSNRequest | None
    """Asks for delivery status notifications (RFC 3461), which go to ``mail_from``."""


class ContentArguments(HeaderArguments, total=False):
    """With those for the content, except the text."""

    html: str | None
    attachments: Iterable[Attachable]
    """Paths, ``(filename, content)`` or ``(filename, content, content_type)``, open files, files of Django's storage,
    or attachments of a received mail."""
    inline: Mapping[str, Attachable | Content] | None
    """Images of the HTML, by name: ``{"logo": path}`` is ``<img src="cid:logo">``."""
    template: str
    """Names templates of Django: ``support/answer`` is ``support/answer.txt``, ``.html`` and ``.subject``, as far as
    they exist."""
    context: Mapping[str, Any] | None
    """What the templates are rendered with."""
    token: str
    """Is signed and put into Reply-To: the answer to this mail has it as ``self.token``."""


class MailArguments(ContentArguments, total=False):
    """All arguments of a mail but its recipients."""

    text: str


@dataclass(frozen=True, kw_only=True)
class NewMail:
    """The arguments of a mail, with their defaults."""

    to: Addresses | None = None
    subject: str | None = None
    text: str = ""
    html: str | None = None
    attachments: tuple[Attachable, ...] = ()
    inline: Mapping[str, Attachable | Content] = field(default_factory=dict)
    cc: Addresses = ()
    bcc: Addresses = ()
    reply_to: Addresses = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    from_: str = ""
    mail_from: str = ""
    dsn: DSNRequest | None = None

    @property
    def is_small(self) -> bool:
        length = len(self.text) + len(self.html or "")
        return not (self.template or self.attachments or self.inline) and length <= SMALL

    def rendered(self) -> "NewMail":
        """Return it with what its template says. A text, HTML or subject that is given counts more."""
        if not self.template:
            return self
        from gateway.django.mail_templates import render  # imports Django

        said = render(self.template, self.context)
        html = said.html if self.html is None else self.html
        subject = said.subject if self.subject is None else self.subject
        return replace(self, text=self.text or said.text, html=html, subject=subject, template="")


_NAMES = frozenset(each.name for each in fields(NewMail)) - {"to"}


def new_mail(
    helper: str,
    to: Addresses | None,
    given: Mapping[str, Any],
    *,
    mail_from: str,
    known: Collection[str] = _NAMES,
) -> NewMail:
    """Return the mail of the arguments that ``helper`` was called with; ``mail_from`` is the default of that one.
    Raises TypeError for one that is not ``known``."""
    for name in sorted(given.keys() - {*known, "text"}):
        meant = "".join(f"; did you mean {each!r}?" for each in get_close_matches(name, known, n=1))
        raise TypeError(f"{helper}() got an unexpected keyword argument {name!r}{meant}")
    plain = {name: value for name, value in given.items() if value is not None}
    for name, value in plain.items():
        _check(helper, name, value)
    attachments = tuple(plain.get("attachments", ()))
    return NewMail(to=to, **{"mail_from": mail_from, **plain, "attachments": attachments})


_FORMS: Mapping[str, tuple[type, str]] = {
    "headers": (Mapping, 'a dict, such as {"X-Ticket": "7"}'),
    "context": (Mapping, 'a dict, such as {"name": "Ann"}'),
    "inline": (Mapping, 'a dict, such as {"logo": path}'),
    "dsn": (Mapping, 'a dict, such as {"notify": ["failure"]}'),
    "attachments": (Iterable, 'a list, such as [path] or [("a.csv", content)]'),
}
_ADDRESSES = frozenset({"cc", "bcc", "reply_to"})
"""They are checked where each is read."""


def _check(helper: str, name: str, given: Any) -> None:
    if name in _FORMS:
        kind, wanted = _FORMS[name]
        if not isinstance(given, kind) or isinstance(given, str | bytes):
            raise arguments.wrong(helper, name, given, wanted)
    elif name not in _ADDRESSES:
        arguments.text(helper, name, given)
