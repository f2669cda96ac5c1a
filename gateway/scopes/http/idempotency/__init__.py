"""The first answer again for a request that is repeated with its Idempotency-Key."""
