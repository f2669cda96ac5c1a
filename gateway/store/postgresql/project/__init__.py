"""The store in the PostgreSQL database of a Django project, in tables that its migrations have made."""
