"""What the consumers of mail and of texts of a gateway share."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.consumers.answer_rate import AnswerRate
from gateway.consumers.text_guard import TextGuard
from gateway.services import Service

if TYPE_CHECKING:  # only a file with the secret needs it
    from protocols.mail.compose.reply_token import ReplyTokens


@dataclass(frozen=True)
class Answering:
    """How they answer."""

    tokens: "ReplyTokens | None" = None
    """None: the file has no secret."""
    rate: AnswerRate = field(default_factory=AnswerRate)
    texts: TextGuard = field(default_factory=TextGuard)
    default_from: str = ""
    """The address that a mail is from which names none, and answers none."""


answering: Service[Answering] = Service("answering", Answering())
