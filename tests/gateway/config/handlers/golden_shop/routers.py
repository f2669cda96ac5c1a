"""Routers that the golden cases name."""

from gateway import EmailToRouter, Policy, ProtocolTypeRouter, SMSFromRouter, domain, phone
from gateway.routing import default
from golden_shop.handlers import on_mail

KEPT = Policy(inbox=True, attempts=3)

texts = SMSFromRouter([phone("+44", on_mail), default(SMSFromRouter([phone("+33", on_mail, KEPT)]))])
mails = ProtocolTypeRouter(
    {"email": EmailToRouter([domain("example.org", on_mail, KEPT)]), "sms": SMSFromRouter([default(on_mail)])}
)
site = ProtocolTypeRouter({"sms": texts})
