"""Notes which message a handler failed with: one run has many messages, and its scope does not say which."""


def failed_with(error: BaseException, topic: str) -> None:
    """Note that a handler raised ``error`` over a message to ``topic``."""
    error.__dict__.setdefault("mqtt_topic", topic)


def topic_of(error: BaseException) -> str:
    """Return the topic that :func:`failed_with` noted; empty if none."""
    topic: str = error.__dict__.get("mqtt_topic", "")
    return topic
