"""``gateway waiting``: messages that wait for a handler."""

from gateway.cli.options import AsJSON, File, Limit
from gateway.cli.store import rendering
from gateway.cli.store.listing import print_entries
from gateway.cli.store.options import with_filters
from gateway.console.kept.selection import Filters


def _waiting(filters: Filters, limit: Limit = None, config: File = None, as_json: AsJSON = False) -> None:
    """List the messages that wait for a handler or run in one, and why: attempts, next try, the last error.

    Examples: gateway waiting --type mqtt · gateway waiting --json
    """
    print_entries(config, lambda store: [store.waiting], rendering.WAITING, "message", filters, limit, as_json=as_json)


waiting = with_filters(_waiting)
