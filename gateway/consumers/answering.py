"""What the consumers of mail and of texts of a gateway share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.consumers.answer_rate import AnswerRate
from gateway.consumers.text_guard import TextGuard
from gateway.services import Service

if TYPE_CHECKING:  # only a file with the secret needs it
    from protocols.mail.compose.reply_token import ReplyTokens


MediaLogin = Callable[[str, str], Mapping[str, str]]
"""Returns the header fields with the login that the server with a name has for the media at a URL."""


def _no_login(server: str, url: str) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Answering:
    """How they answer."""

    tokens: "ReplyTokens | None" = None
    """None: the file has no secret."""
    rate: AnswerRate = field(default_factory=AnswerRate)
    texts: TextGuard = field(default_factory=TextGuard)
    media_login: MediaLogin = _no_login
    default_from: str = ""
    """The address that a mail is from which names none, and answers none."""


answering: Service[Answering] = Service("answering", Answering())
