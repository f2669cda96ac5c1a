"""What only one protocol counts: the sessions of MQTT, the folders of a mailbox, the mail that is being received."""

from collections.abc import AsyncIterator

from gateway.metrics.family import Family, Sample, counter, gauge
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway


def _count(name: str, says: str) -> Family:
    return counter(f"gateway_{name}", says, "server")


def _number(name: str, says: str) -> Family:
    return gauge(f"gateway_{name}", says, "server")


FIGURES = (
    _number("mqtt_sessions", "Sessions of clients, connected or away."),
    _number("mqtt_sessions_away", "Sessions whose clients are away."),
    _number("mqtt_subscriptions", "Subscriptions of all sessions."),
    _number("mqtt_retained_messages", "Retained messages of clients, without those under $SYS."),
    _number("mqtt_queued_bytes", "Bytes of messages that wait for clients."),
    _number("mqtt_queued_limit_bytes", "Bytes that may wait for clients: max_queued_all."),
    _count("mqtt_queue_refusals_total", "Messages at QoS 1 and 2 that were not queued because that limit was reached."),
    _count("mqtt_packets_received_total", "Packets that clients sent after their CONNECT."),
    _count("mqtt_messages_dropped_total", "Messages at QoS 0 that were dropped because their client does not read."),
    _number("mailbox_folders", "Folders that are read."),
    _number("mailbox_folders_ready", "Folders whose server answers."),
    gauge(
        "gateway_mailbox_checked_timestamp_seconds",
        "When the mail server last answered what is in a folder, or the start if it never has; of several folders, the "
        "one where it is longest ago.",
        "server",
        joined="max",
    ),
    _number("mailbox_backlog_messages", "Messages that were found in a folder and have not come to their turn yet."),
    _number("mailbox_deferred_messages", "Messages that are left in their folder and tried again later."),
    _number("smtp_buffered_bytes", "Bytes of mail that is being received."),
    _number("smtp_buffered_limit_bytes", "Bytes of mail that may be received at one time: max_buffered."),
    _count("smtp_buffer_refusals_total", "How often a mail found no room within that limit."),
    _count("sms_segments_sent_total", "SMS that the texts took which the provider was given: what it charges for."),
    _count("smtp_message_rate_refusals_total", "Messages that were refused because of max_message_rate."),
)
_BY_NAME = {family.name.removeprefix("gateway_"): family for family in FIGURES}


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    for server in gateway.servers:
        for name, number in server.figures().items():
            family = _BY_NAME.get(name)  # a server of another distribution may count what is not defined here
            if family is not None and (family.is_cumulative or not server.stands_by):
                yield family.sample(number, server.name)


READER = Reader("protocols", FIGURES, read)
