"""What goes wrong between the two processes of a hand-over."""


class HandOverFailed(ConnectionError):
    """The other process sends what it must not send, or says nothing. The message is one sentence."""
