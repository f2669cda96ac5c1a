from typing import Any

import django.db.models.deletion
from django.db import migrations, models

ONE_ROW = "The same for each delivery of a mail: it is one row."
MAIL_KIND = "person, bounce, auto-reply ...; ours is what we sent."
RELATED = "The ticket that its first mail refers to, whose participants do not know this sender."


def changed(model: str, name: str, field: Any, *, add: bool = False) -> Any:
    operation = migrations.AddField if add else migrations.AlterField
    return operation(model_name=model, name=name, field=field)


class Migration(migrations.Migration):
    dependencies = [
        ("helpdesk", "0002_newest"),
    ]

    operations = [
        migrations.AlterModelOptions(name="mail", options={"ordering": ["received_at", "pk"]}),
        migrations.RenameField(model_name="mail", old_name="digest", new_name="event"),
        changed("mail", "event", models.CharField(help_text=ONE_ROW, max_length=255, unique=True)),
        migrations.RenameField(model_name="post", old_name="digest", new_name="event"),
        changed("post", "event", models.CharField(max_length=255, unique=True)),
        migrations.RemoveField(model_name="mail", name="answered"),
        changed("mail", "sender", models.EmailField(blank=True, max_length=254)),
        migrations.AddField(
            model_name="mail",
            name="kind",
            field=models.CharField(default="person", help_text=MAIL_KIND, max_length=16),
            preserve_default=False,
        ),
        changed(
            "mail",
            "opens",
            models.BooleanField(default=False, help_text="It opened the ticket, and is acknowledged."),
            add=True,
        ),
        changed(
            "ticket",
            "address",
            models.EmailField(blank=True, help_text="The address of ours that they wrote to.", max_length=254),
            add=True,
        ),
        changed(
            "ticket",
            "related",
            models.ForeignKey(
                blank=True,
                help_text=RELATED,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to="helpdesk.ticket",
            ),
            add=True,
        ),
        migrations.CreateModel(
            name="Attachment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=255)),
                ("content_type", models.CharField(max_length=100)),
                ("size", models.PositiveBigIntegerField(help_text="In bytes.")),
                ("file", models.FileField(max_length=400, upload_to="attachments/%Y/%m/")),
                (
                    "mail",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="attachments", to="helpdesk.mail"
                    ),
                ),
            ],
            options={"ordering": ["pk"]},
        ),
    ]
