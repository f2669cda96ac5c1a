"""A Django project with one task. docs/tasks.md explains it."""
