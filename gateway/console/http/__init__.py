"""Serves the table of operations over HTTP.

``app`` is the ASGI application: it finds the operation of a request, reads its parameters and sends the answer.
``guard`` refuses what another site's page may have sent; ``stream`` sends answers as server-sent events.
"""
