"""The store in a PostgreSQL database, which several hosts may share."""
