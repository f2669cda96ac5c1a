"""The October 2017 sketch of Channels 2, imports aside: one application for every protocol.

Run it with a gateway.yaml that says ``application: sketch:application`` (see docs/routing.md).
"""

from gateway import (
    AsyncConsumer,
    AsyncHttpConsumer,
    EmailConsumer,
    EmailToRouter,
    MqttConsumer,
    ProtocolTypeRouter,
    SMSConsumer,
    SMSFromRouter,
    URLRouter,
    WebsocketConsumer,
    default,
    phone,
    regex,
    url,
)


class ChatConsumer(WebsocketConsumer):            # sync: runs on a thread
    def connect(self, message):
        self.accept()
        self.username = "Anonymous"
        self.send(text="[Welcome %s!]" % self.username)
    def receive(self, text, bytes=None):
        if text.startswith("/name"):
            self.username = text[5:].strip()
            self.send(text="[set your username to %s]" % self.username)
        else:
            self.send(text=self.username + ": " + text)


class AsyncChatConsumer(AsyncConsumer):           # async: raw events, one method per event type
    async def websocket_connect(self, message):
        await self.send({"type": "websocket.accept"})
    async def websocket_receive(self, message):
        await self.send({"type": "websocket.send", "text": message["text"]})


# The classes that the sketch names and does not show.


class LongpollConsumer(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond("nothing new\n")


class DjangoViewSystem(AsyncHttpConsumer):        # in place of a Django project's get_asgi_application()
    async def handle(self, body):
        await self.respond("the site\n")


class MqttTemperatureConsumer(MqttConsumer):
    readings = []
    def receive(self, topic, payload):
        self.readings.append((topic, float(payload)))


class SupportTicketHandler(EmailConsumer):
    subjects = []
    def receive(self, message):
        self.subjects.append(message["Subject"])


class TwitterEmailGateway(EmailConsumer):
    subjects = []
    def receive(self, message):
        self.subjects.append(message["Subject"])


class UKTextHandler(SMSConsumer):
    def receive(self, text, media):
        self.reply("Cheers")


class USTextHandler(SMSConsumer):
    def receive(self, text, media):
        self.reply("Thanks")


class UnknownTextHandler(SMSConsumer):
    def receive(self, text, media):
        self.reply("Hello, wherever you are")


application = ProtocolTypeRouter({
    "http": URLRouter([url("^longpoll/$", LongpollConsumer), url("^", DjangoViewSystem)]),
    "websocket": URLRouter([url("^chat/$", AsyncChatConsumer)]),
    "mqtt": MqttTemperatureConsumer,
    "email": EmailToRouter([regex("@support.aeracode.org", SupportTicketHandler), regex("@twitter.aeracode.org", TwitterEmailGateway)]),
    "sms": SMSFromRouter([phone("+44", UKTextHandler), phone("+1", USTextHandler), default(UnknownTextHandler)]),
})
