"""A project that has nothing to answer a scope type with."""


class NotAnswered(ValueError):
    """The target ``django`` answers nothing of this scope type. The message is a sentence for the operator."""
