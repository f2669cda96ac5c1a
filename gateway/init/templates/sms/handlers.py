"""Handlers of text messages. gateway.yaml says which of them gets what."""

from gateway import SMSConsumer


class Answer(SMSConsumer):
    """Answers texts. Each text has an instance of its own."""

    def receive(self, text: str, media: list) -> None:
        """Handle one text, from ``self.scope["sender"]``. It is accepted when this returns. If this raises, the
        provider is told to deliver it again."""
        if text.strip().lower() == "hours":
            self.reply("We are open from 9 to 17.")
        else:
            self.reply("Write HOURS, and we tell you when we are open.")
