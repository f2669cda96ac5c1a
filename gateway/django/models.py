"""The rows of the gateway's tables, for Django's admin. The gateway alone writes them."""

from django.db import models


class Message(models.Model):
    """A message that waits, is dead, or has its history left."""

    id = models.TextField(primary_key=True)
    seq = models.BigIntegerField()
    type = models.TextField()
    route = models.TextField()
    key = models.TextField()
    subject = models.TextField()
    received = models.FloatField()
    content = models.BinaryField()
    state = models.IntegerField()
    attempts = models.IntegerField()
    due = models.FloatField()
    error = models.TextField()
    story = models.TextField()

    class Meta:
        managed = False
        db_table = "gateway_messages"


class Outgoing(models.Model):
    """Something that leaves by a server, or could not."""

    id = models.TextField(primary_key=True)
    seq = models.BigIntegerField()
    message = models.TextField()
    kind = models.TextField()
    lane = models.TextField()
    behind = models.TextField()
    recipient = models.TextField()
    since = models.FloatField()
    content = models.BinaryField()
    state = models.IntegerField()
    attempts = models.IntegerField()
    due = models.FloatField()
    error = models.TextField()

    class Meta:
        managed = False
        db_table = "gateway_outgoing"
