"""Topic names and filters (section 4.7): which are valid. Pure."""

MAX_LEVELS = 128
"""Levels of a name or filter: each costs memory in the trees below, and nobody's topics are that deep."""


def valid_name(topic: str) -> bool:
    """Whether ``topic`` may be published to: not empty, no wildcard, no NUL, at most 65,535 bytes and MAX_LEVELS."""
    if not topic or "+" in topic or "#" in topic or "\0" in topic or topic.count("/") >= MAX_LEVELS:
        return False
    try:
        return len(topic.encode()) < 65536
    except UnicodeEncodeError:  # a lone surrogate
        return False


def valid_filter(topic_filter: str) -> bool:
    """Whether ``filter`` may be subscribed to: wildcards fill a level, ``#`` the last one (4.7.1)."""
    group, topic_filter = split_share(topic_filter)
    levels = topic_filter.split("/")
    if not topic_filter or "\0" in topic_filter or len(levels) > MAX_LEVELS or not _valid_group(group):
        return False
    return not any(len(level) > 1 and ("+" in level or "#" in level) for level in levels) and "#" not in levels[:-1]


def overlap(one: str, other: str) -> bool:
    """Whether there is a topic that both filters match; a name is a filter that matches itself."""
    mine, theirs = one.split("/"), other.split("/")
    for level, its in zip(mine, theirs, strict=False):
        if "#" in (level, its):
            return True
        if level != its and "+" not in (level, its):
            return False
    longer = max(mine, theirs, key=len)
    return len(mine) == len(theirs) or longer[min(len(mine), len(theirs))] == "#"  # "sport/#" matches "sport" (4.7.1.2)


def split_share(topic_filter: str) -> tuple[str | None, str]:
    """The group of a shared subscription, and the filter it is for (MQTT 5, 4.8.2); None if it is not shared."""
    if not topic_filter.startswith("$share/"):
        return None, topic_filter
    group, _, shared = topic_filter.removeprefix("$share/").partition("/")
    return group, shared


def _valid_group(group: str | None) -> bool:
    return group is None or (group != "" and "+" not in group and "#" not in group and "\0" not in group)
