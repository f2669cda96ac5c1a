"""Handlers of what Django has no views for. gateway.yaml says which of them gets what."""

from gateway import AsyncWebsocketConsumer, EmailConsumer, InboundEmail, layer_event


class Hello(EmailConsumer):
    """Answers mail, and shows it to every page that is connected. Each message has an instance of its own."""

    def receive(self, message: InboundEmail) -> None:
        """Handle one message. A plain method runs on a thread, so it may use the ORM. If it raises, the message is
        tried again, as often as ``attempts`` in gateway.yaml says."""
        self.group_send("live", {"type": "mail.new", "subject": message.subject})
        self.reply(f"Thank you for your mail about {message.subject!r}.")


class Live(AsyncWebsocketConsumer):
    """Tells a page the subject of each mail. Each connection has an instance of its own."""

    async def connect(self, message: dict) -> None:
        await self.group_add("live")
        await self.accept()

    @layer_event("mail.new")
    async def on_mail(self, message: dict) -> None:
        await self.send(text=message["subject"])
