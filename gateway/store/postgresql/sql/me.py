"""Whether an owner is one still, within the statement that takes something for it."""

from gateway.store.values import StoreUnavailable

ME = "me AS MATERIALIZED (SELECT id FROM gateway_owners WHERE id = %(owner)s FOR KEY SHARE)"
"""Who was given up while it slept takes nothing, and nobody is given up while it takes."""


class GivenUp(StoreUnavailable):
    """Other processes have given this one up, and it is about to be an owner again."""

    def __init__(self) -> None:
        super().__init__("other processes have taken this one for dead; it begins again at once")
