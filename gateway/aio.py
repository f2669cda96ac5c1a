"""The helpers of :mod:`gateway.sending` for code on an event loop: ``await aio.publish("lamps/1", "on")``."""

from gateway.sending import messages
from gateway.sending.forms import awaited

__all__ = ["group_send", "publish", "send_mail", "send_text"]

publish = awaited(messages.publish)
send_mail = awaited(messages.send_mail)
send_text = awaited(messages.send_text)
group_send = awaited(messages.group_send)
