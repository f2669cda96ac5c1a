"""Claims; see :class:`gateway.store.interfaces.ClaimStore`."""

from collections.abc import Sequence

from gateway.store.sqlite.session import StoreSession
from gateway.store.sqlite.sql import claims
from gateway.store.values import Claim, ClaimState, Outgoing


class SQLiteClaims(StoreSession):
    async def claim(self, key: str, *, id: str, now: float, ttl: float, failed_as: str = "") -> Claim:
        call = claims.Request(self._owner, key, id, now, ttl, failed_as, received=now + self._set_forward())
        return await self._run(claims.claim, call, undo=claims.give_back, syncs=_is_done)

    async def settle(self, claim: Claim, *, result: bytes, outgoing: Sequence[Outgoing] = ()) -> None:
        await self._run(claims.settle, (claim, result, outgoing))

    async def release(self, key: str, *, error: str, counted: bool = True) -> None:
        await self._run(claims.release, (key, error, counted))


def _is_done(claim: Claim) -> bool:
    """Whether the sender is answered with it: another process may have committed it, and not be told yet that it is on
    disk."""
    return claim.state is ClaimState.DONE
