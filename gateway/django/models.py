"""The rows of the gateway's tables, for Django's admin. The gateway alone writes them."""

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    Manager = models.Manager[Any]
else:
    Manager = models.Manager

WAITING, RUNNING, BEHIND, DEAD, GONE = range(5)
"""The column ``state``; see :mod:`gateway.store.states`."""


class _InState(Manager):
    """The rows in these ``states``. The condition is that of an index of the table."""

    def __init__(self, **states: int) -> None:
        super().__init__()
        self._states = states

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(**self._states)


class _Row(models.Model):
    """The columns that both tables have."""

    id = models.TextField(primary_key=True)
    seq = models.BigIntegerField()
    content = models.BinaryField()
    state = models.IntegerField()
    attempts = models.IntegerField()
    due = models.FloatField()
    error = models.TextField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.id


class Message(_Row):
    """A message that waits, is dead, or has its history left."""

    type = models.TextField()
    route = models.TextField()
    key = models.TextField()
    subject = models.TextField()
    received = models.FloatField()
    story = models.TextField()

    class Meta:
        managed = False
        db_table = "gateway_messages"
        default_permissions = ()


class WaitingMessage(Message):
    """A message that waits for its handler, or is with it."""

    objects = _InState(state__lt=DEAD)

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = "waiting message"


class DeadLetter(Message):
    """A message whose last attempt failed."""

    objects = _InState(state=DEAD)

    class Meta:
        proxy = True
        default_permissions = ("view", "change", "delete")
        verbose_name = "dead letter"


class Outgoing(_Row):
    """Something that leaves by a server, or could not."""

    message = models.TextField()
    kind = models.TextField()
    lane = models.TextField()
    behind = models.TextField()
    recipient = models.TextField()
    since = models.FloatField()

    class Meta:
        managed = False
        db_table = "gateway_outgoing"
        default_permissions = ("view", "change", "delete")
        verbose_name = "outgoing item"
