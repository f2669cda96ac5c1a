"""The routers of our scope types, and what makes their routes; neither a server nor a plugin is imported for them."""

from gateway.scopes.email.relay import relay
from gateway.scopes.email.router import EmailFromRouter, EmailToRouter
from gateway.scopes.email.routes import address, domain, regex
from gateway.scopes.http.router import URLRouter, url
from gateway.scopes.mqtt.patterns import topic
from gateway.scopes.mqtt.router import TopicRouter
from gateway.scopes.sms.router import SMSFromRouter, SMSToRouter
from gateway.scopes.sms.routes import country, keyword, phone, recipient, sender, shortcode

__all__ = [
    "EmailFromRouter",
    "EmailToRouter",
    "SMSFromRouter",
    "SMSToRouter",
    "TopicRouter",
    "URLRouter",
    "address",
    "country",
    "domain",
    "keyword",
    "phone",
    "recipient",
    "regex",
    "relay",
    "sender",
    "shortcode",
    "topic",
    "url",
]
