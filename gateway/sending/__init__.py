"""Sends from any code: a consumer of any protocol, a view, a task, a command in a process of its own.

* :mod:`~gateway.sending.messages`: what is sent, as each helper takes it.
* :mod:`~gateway.sending.forms`: the two forms of a helper, the one that waits and the one that is awaited.
* :mod:`~gateway.sending.outside`: sending from a process without a gateway, by the store of the gateway's file.
"""

from gateway.sending import messages
from gateway.sending.forms import waiting

__all__ = ["group_send", "publish", "send_mail", "send_text"]

publish = waiting(messages.publish)
send_mail = waiting(messages.send_mail)
send_text = waiting(messages.send_text)
group_send = waiting(messages.group_send)
