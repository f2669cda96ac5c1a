"""Syslog for the gateway: RFC 5424 messages over UDP and TCP, one ``syslog`` scope for each message.

``message``
    the format of RFC 5424, and the framing of RFC 6587
``events``
    what an application may send, and when
``server``
    sockets, and one run of the application for each message
``routes``
    a router by app name, host name, facility and severity
``consumer``
    the class that handlers extend
``kind``
    all of it in one object, which the entry point names
"""

from gateway_syslog.consumer import AsyncSyslogConsumer, SyslogConsumer

__all__ = ["AsyncSyslogConsumer", "SyslogConsumer"]
