"""Django's tasks in the gateway's store: ``TASKS = {"default": {"BACKEND": "gateway.django.TaskBackend"}}``.

``framework`` is Django's own (6.0) or the package ``django-tasks``; ``backend`` puts tasks into the store, ``runner``
runs them in the gateway, and ``results`` says what has come of them.
"""
