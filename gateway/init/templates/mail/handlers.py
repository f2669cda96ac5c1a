"""Handlers of mail. gateway.yaml says which of them gets what."""

from gateway import EmailConsumer, InboundEmail


class Hello(EmailConsumer):
    """Answers mail. Each message has an instance of its own."""

    def receive(self, message: InboundEmail) -> None:
        """Handle one message. It is accepted when this returns. If this raises, it is tried again, as often as
        ``attempts`` in gateway.yaml says, and nothing of the failed attempt leaves."""
        if not message.text.strip():
            self.reject("The message is empty")
        else:
            self.reply(
                f"Thank you for your mail about {message.subject!r}. You wrote {len(message.text.split())} words."
            )
