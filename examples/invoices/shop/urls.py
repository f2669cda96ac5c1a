"""POST /orders/7 enqueues the invoice and answers with the task's id; GET /invoices/ID says what has come of it."""

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from shop.tasks import write_invoice


@csrf_exempt
@require_POST
def order(request: HttpRequest, number: int) -> JsonResponse:
    return JsonResponse({"id": write_invoice.enqueue(number).id}, status=202)


def invoice(request: HttpRequest, ident: str) -> JsonResponse:
    result = write_invoice.get_result(ident)
    is_done = result.status.value == "SUCCESSFUL"
    return JsonResponse({"status": result.status.value, "file": result.return_value if is_done else None})


urlpatterns = [path("orders/<int:number>", order), path("invoices/<str:ident>", invoice)]
