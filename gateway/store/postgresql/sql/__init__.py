"""Schema and statements: what is done with the rows, within a transaction that the caller has begun."""
