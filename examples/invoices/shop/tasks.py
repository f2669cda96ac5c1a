"""What runs behind the views' backs."""

from django.conf import settings

try:
    from django.tasks import task
except ModuleNotFoundError:  # before Django 6.0
    from django_tasks import task


@task(queue_name="invoices")
def write_invoice(order: int) -> str:
    """Write the invoice of ``order``. A repetition writes the same file again."""
    path = settings.INVOICES / f"invoice-{order}.txt"
    path.write_text(f"Invoice for order {order}\n")
    return path.name
