"""The store in Django's admin: what waits, dead letters and outgoing items. Nothing is edited there; people with the
permission to change them requeue them, and people with the permission to delete them drop them."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.paginator import Paginator
from django.db import connections, transaction
from django.db.models import QuerySet
from django.db.models.functions import Length, Right
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.timezone import localtime

from gateway.django.content import LONGEST, text_of
from gateway.django.database import ProjectTransaction, database
from gateway.django.models import BEHIND, DEAD, RUNNING, WAITING, DeadLetter, Outgoing, WaitingMessage
from gateway.event_sender import sending
from gateway.store.transaction import TransactionStore

if TYPE_CHECKING:
    Pages = Paginator[Any]
    ModelAdmin = admin.ModelAdmin[Any]
else:
    Pages = Paginator
    ModelAdmin = admin.ModelAdmin

MOST = 10_000
"""Entries of a list that its pages, and its filters, take into account: to count all takes longer than to find some."""
LONGEST_ERROR = 300
"""Characters of an error that a list shows: its end says what went wrong."""
_NAMED = 100
_STATES = {WAITING: "waiting", RUNNING: "running", BEHIND: "behind another", DEAD: "dead"}


class FewPages(Pages):
    """Pages of the first ``MOST`` entries."""

    @cached_property
    def count(self) -> int:
        found: Any = self.object_list
        return int(found.order_by().values("pk")[:MOST].count())


class _Filter(admin.SimpleListFilter):
    """The values of ``column`` among the first ``MOST`` entries."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = model_admin.model.objects.order_by()[:MOST].values_list(self.column, flat=True)
        return [(each, each) for each in sorted({*found})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(**{self.column: self.value()})


class TypeFilter(_Filter):
    title = parameter_name = column = "type"


class RouteFilter(_Filter):
    title = parameter_name = column = "route"


class KindFilter(_Filter):
    title, parameter_name, column = "type", "type", "kind"


class StateFilter(admin.SimpleListFilter):
    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "waiting"), ("dead", "dead")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {"waiting": {"state__lt": DEAD}, "dead": {"state": DEAD}}
        return queryset.filter(**wanted.get(self.value() or "", {}))


class StoreAdmin(ModelAdmin):
    """A list of the store, and pages of what is in it."""

    show_full_result_count = False
    paginator = FewPages
    ordering = ("seq",)
    heavy: tuple[str, ...] = ("content", "error", "story")
    """Columns that are read when one row is shown."""
    search_help_text = "The beginning of an id, or a part of the text. What is not on the first pages is found so."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """No content, and no long error, is read for a list."""
        size, end = Length("content"), Right("error", LONGEST_ERROR)
        found: QuerySet[Any] = super().get_queryset(request).annotate(size=size, end=end).defer(*self.heavy)
        return found

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """Find ids that begin with the term, by their index. Only if there are none, every row is read."""
        by_id = queryset.filter(pk__gte=search_term, pk__lt=search_term + chr(sys.maxunicode))
        if search_term and by_id.order_by().values("pk")[:1].exists():
            return by_id, False
        return super().get_search_results(request, queryset, search_term)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """With another store these tables are empty, and a list without dead letters would be a wrong answer."""
        return _is_in_project() and super().has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_in_project() and any(self._may(request, what) for what in ("view", "change", "delete"))

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "change")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "delete")

    def _may(self, request: HttpRequest, what: str) -> bool:
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.{what}_{self.opts.model_name}"))

    # What is shown.

    @admin.display(description="received", ordering="seq")
    def at(self, row: Any) -> datetime | str:
        return _time(row.received)

    @admin.display(description="due")
    def next_try(self, row: Any) -> datetime | str:
        return _time(row.due) if row.due > 1 else "now" if row.state != DEAD else ""

    @admin.display(description="state")
    def is_now(self, row: Any) -> str:
        return _STATES.get(row.state, "")

    @admin.display(description="error")
    def last_line(self, row: Any) -> str:
        return str(row.end).strip().rpartition("\n")[2]

    @admin.display(description="error")
    def whole_error(self, row: Any) -> str:
        return format_html("<pre>{}</pre>", row.error)

    @admin.display(description="content")
    def readable(self, row: Any) -> str:
        return format_html("<pre>{}</pre>", text_of(None if row.size > LONGEST else bytes(row.content), row.size))

    # What is done.

    @admin.action(description="Try the selected again", permissions=["requeue"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        ids = _ids(queryset)
        with transaction.atomic(using=database()):
            number = _within(self.requeue_in, ids)
            LogEntry.objects.log_actions(request.user.pk, [self.model(pk=each) for each in ids], CHANGE, "requeued")  # type: ignore[arg-type]  # any iterable will do
        self.message_user(request, f"{number} {'waits' if number == 1 else 'wait'} again")

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        _within(self.drop_in, [obj.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        _within(self.drop_in, _ids(queryset))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """The first hundred, and how many there are: nothing of the project hangs on them."""
        names = [str(each) for each in objs[:_NAMED]]
        more = len(objs) - len(names)
        return (
            names + ([f"and {more} more"] if more else []),
            {str(self.opts.verbose_name_plural): len(objs)},
            set(),
            [],
        )

    def requeue_in(self, store: TransactionStore, ids: Sequence[str]) -> int:
        return store.requeue(ids)

    def drop_in(self, store: TransactionStore, ids: Sequence[str]) -> int:
        return store.drop(ids)


_MESSAGE = ("id", "type", "route", "subject", "key", "at", "attempts", "is_now", "next_try")


@admin.register(WaitingMessage)
class WaitingAdmin(StoreAdmin):
    list_display = ("id", "type", "route", "subject", "at", "is_now", "attempts", "next_try", "last_line")
    list_filter = (TypeFilter, RouteFilter)
    search_fields = ("subject", "error")
    fields = readonly_fields = (*_MESSAGE, "whole_error", "readable")
    actions = None

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(DeadLetter)
class DeadLetterAdmin(StoreAdmin):
    list_display = ("id", "type", "route", "subject", "at", "attempts", "last_line")
    list_filter = (TypeFilter, RouteFilter)
    search_fields = ("subject", "error")
    fields = readonly_fields = (*_MESSAGE[:-1], "whole_error", "readable")
    actions = ("requeue",)


@admin.register(Outgoing)
class OutgoingAdmin(StoreAdmin):
    list_display = ("id", "kind", "recipient", "is_now", "attempts", "next_try", "last_line")
    list_filter = (KindFilter, StateFilter)
    search_fields = ("recipient", "error", "message")
    fields = readonly_fields = (
        *("id", "message", "kind", "lane", "recipient", "behind", "at", "attempts", "is_now", "next_try"),
        *("whole_error", "readable"),
    )
    actions = ("requeue",)
    heavy = ("content", "error")

    @admin.display(description="since", ordering="seq")
    def at(self, row: Any) -> datetime | str:
        return _time(row.since)

    def requeue_in(self, store: TransactionStore, ids: Sequence[str]) -> int:
        return store.requeue_outgoing(ids)

    def drop_in(self, store: TransactionStore, ids: Sequence[str]) -> int:
        return store.drop_outgoing(ids)


def _within(work: Callable[[TransactionStore, Sequence[str]], int], ids: Sequence[str]) -> int:
    """Do ``work`` by the store's operations, in a transaction of Django's, and tell the gateway after its commit."""
    alias, number = database(), list[int]()
    with transaction.atomic(using=alias):
        ProjectTransaction(connections[alias]).run(lambda store: number.append(work(store, ids)), _tell)
    return number[0]


def _is_in_project() -> bool:
    """Whether the gateway's store is in the project, as far as is known: a web process may not see the gateway's
    file."""
    try:
        with sending() as sender:
            return sender.is_in_project
    except Exception:  # there is no file, or it has mistakes
        return True


def _tell() -> None:
    """Tell the gateway. A process that does not see its file leaves it to the gateway's next look, within a second."""
    with suppress(Exception), sending() as sender:  # there is no file, or it has mistakes
        sender.tell()


def _ids(queryset: QuerySet[Any]) -> list[str]:
    return list(queryset.order_by().values_list("pk", flat=True))


def _time(at: float) -> datetime | str:
    try:
        return localtime(datetime.fromtimestamp(at, UTC))
    except (OverflowError, ValueError, OSError):  # a task that was put off for good
        return "never"
