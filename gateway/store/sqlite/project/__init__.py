"""The store in the SQLite file of a Django project, beside the project's own tables."""
