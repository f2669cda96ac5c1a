"""A real Postfix on a free port that passes mail on to a server of ours, by LMTP or SMTP, and tries again at once."""

import contextlib
from collections.abc import Iterator

from servers.postfix import Postfix, postfix_server

_MAIN = """
myhostname = relay.example.org
virtual_mailbox_domains =
smtpd_recipient_restrictions =
relay_domains = example.org
relay_transport = {way}:{target}
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
bounce_queue_lifetime = 0
fast_flush_domains =
"""


@contextlib.contextmanager
def relay(way: str, target: int) -> Iterator[Postfix]:
    """One that takes everything for example.org and passes it on to a port of this machine by ``way``."""
    place = f"{'inet:' * (way == 'lmtp')}[127.0.0.1]:{target}"
    with postfix_server(main=_MAIN.format(way=way, target=place)) as server:
        yield server
