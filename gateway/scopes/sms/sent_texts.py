"""Which texts have left, and what their providers call them: in the store, so that receipts find their texts."""

import asyncio
import hashlib
import logging
import secrets

from gateway.store import Store, StoreUnavailable, codec
from protocols.errors import NotSent
from protocols.event_id import event_of
from protocols.sms.provider import DeliveryReceipt

logger = logging.getLogger(__name__)

KEEP = 7 * 86400.0
"""Seconds for which receipts find their texts: networks try for three days, and providers repeat receipts for three."""
PATIENCE = 2.0
"""Seconds that a receipt waits for the store: its handler gets it, though it may not know the text."""
_LONGEST_WORD = 100
"""Characters of a provider's id or status in a history."""


class StoredTexts:
    """A :class:`protocols.sms.webhook.SentTexts`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def sent(self, text_id: str, listener: str, message_id: str, to: str, segments: int) -> None:
        """The provider of ``listener`` has taken the text, and calls it ``message_id``. If the store cannot keep that,
        this returns all the same: the text must not leave again for its sake."""
        called = f" as {message_id[:_LONGEST_WORD]}" if message_id else ""
        what = f"{text_id}: {listener} took the text to {to}{called}, {segments} segment{'s' * (segments != 1)}"
        noted = self._store.note(_key(listener, message_id or text_id), text_id.encode(), ttl=KEEP)
        told = self._store.tell_history(event_of(text_id), what, ttl=KEEP)
        for each in await asyncio.gather(noted, told, return_exceptions=True):
            if isinstance(each, StoreUnavailable):
                logger.warning("%s: left, but receipts for it will not find it: %s", text_id, each)
            elif each is not None:
                raise each

    async def receipt(self, listener: str, receipt: DeliveryReceipt) -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                text_id = receipt.reference or await self._text_id(listener, receipt.message_id)
                if text_id:
                    await self._store.tell_history(event_of(text_id), _in_words(text_id, receipt), ttl=KEEP)
                return text_id
        except (StoreUnavailable, TimeoutError) as error:
            logger.warning("sms %s: the text of receipt %s is not looked up: %s", listener, receipt.message_id, error)
            return receipt.reference

    async def keep_file(self, content_type: str, content: bytes, expiry: float) -> str:
        token = secrets.token_urlsafe(32)
        try:
            await self._store.note(
                _file_key(token), codec.encode({}, [{"type": content_type, "is": content}]), ttl=expiry
            )
        except StoreUnavailable as error:
            raise NotSent(f"its file cannot be kept for the provider: {error}") from error
        return token

    async def file(self, token: str) -> tuple[str, bytes] | None:
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._store.noted([_file_key(token)])
        except (StoreUnavailable, TimeoutError):
            return None
        if found is None:
            return None
        _, [kept] = codec.decode(found)
        return kept["type"], kept["is"]

    async def _text_id(self, listener: str, message_id: str) -> str:
        return (await self._store.noted([_key(listener, message_id)]) or b"").decode()


def _in_words(text_id: str, receipt: DeliveryReceipt) -> str:
    error = f", error {receipt.error[:_LONGEST_WORD]}" if receipt.error else ""
    return f"{text_id}: receipt: {receipt.status[:_LONGEST_WORD]}{error}"


def _file_key(token: str) -> str:
    """The store has no token that opens a file, only this."""
    return f"text file:{hashlib.sha256(token.encode(errors='surrogatepass')).hexdigest()}"


def _key(listener: str, message_id: str) -> str:
    return f"text:{listener}:{message_id}"
