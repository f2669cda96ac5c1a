"""The parameters of operations that list, show and remove what servers have."""

from typing import Annotated, TypedDict

from protocols.units import Between

MOST = 1000
"""Entries of a page."""

OfServer = Annotated[str | None, "Only of this server."]
OfClient = Annotated[str | None, "Only this client identifier; an asterisk stands for any characters."]
OfUser = Annotated[str | None, "Only this user; an asterisk stands for any characters."]
OfTopic = Annotated[str | None, "Only those whose subscriptions may get a message that this topic filter matches."]
WithDropped = Annotated[bool, "Only those to which messages were dropped."]
WithQueued = Annotated[bool, "Only those for which messages wait."]
PAGE = 100
"""Entries of a page, if nothing else is asked for."""
Limit = Annotated[int, Between(1, MOST), "How many entries the page has at most."]
After = Annotated[str | None, "The `next` of the page before."]
Content = Annotated[int, Between(0, 1024 * 1024), "How many bytes of content to show at most."]
DryRun = Annotated[bool, "Whether to count only, and to change nothing."]
WithWill = Annotated[bool, "Whether the wills of clients are published, as MQTT says."]
Rate = Annotated[int, Between(0, 1_000_000), "How many a second at most; 0 for all at once."]


class Removed(TypedDict):
    """What was done."""

    found: int
    """How many fit the filters."""
    removed: int
    """How many were disconnected or deleted."""
