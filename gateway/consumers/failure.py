"""Which message a handler failed with: one run of an application has many, and its scope does not say."""


def failed_with(error: BaseException, topic: str) -> None:
    """Note that a handler raised ``error`` over a message to ``topic``."""
    error.__dict__.setdefault("mqtt_topic", topic)


def topic_of(error: BaseException) -> str:
    """What :func:`failed_with` noted, or nothing."""
    topic: str = error.__dict__.get("mqtt_topic", "")
    return topic
