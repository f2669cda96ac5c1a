"""`manage.py rungateway`."""
