"""The store in the SQLite file of a Django project: a guest there, with tables and files of the project's beside it."""
