"""Commands of `manage.py` for projects that have `gateway.django` in INSTALLED_APPS."""
