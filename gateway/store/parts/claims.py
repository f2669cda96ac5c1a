"""Claims; see :class:`gateway.store.interfaces.ClaimStore`."""

from collections.abc import Sequence

from gateway.store.calls import Release, Request
from gateway.store.parts.session import StoreSession
from gateway.store.values import Claim, ClaimState, Outgoing


class Claims(StoreSession):
    async def claim(self, key: str, *, id: str, now: float, ttl: float, failed_as: str = "") -> Claim:
        sql = self.operations.claims
        call = Request(self._owner, key, id, now, ttl, failed_as, received=now + self._set_forward())
        return await self._run(sql.claim, call, undo=sql.give_back, syncs=_is_done)

    async def settle(self, claim: Claim, *, result: bytes, outgoing: Sequence[Outgoing] = ()) -> None:
        await self._run(self.operations.claims.settle, (claim, result, outgoing))

    async def release(self, key: str, *, error: str, counted: bool = True) -> None:
        await self._run(self.operations.claims.release, Release(key, self._owner, error, counted))


def _is_done(claim: Claim) -> bool:
    """Whether the sender gets its result as the answer. It has to be on disk first: another process may have committed
    it a moment ago."""
    return claim.state is ClaimState.DONE
