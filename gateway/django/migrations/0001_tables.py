"""The tables of the first release that could keep its messages in a project's database."""

from django.db import migrations, models

from gateway.django.tables import Tables


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[Tables(have={}, to={"sqlite": 9, "postgresql": 1})],
            state_operations=[
                migrations.CreateModel(
                    "Message",
                    [
                        ("id", models.TextField(primary_key=True, serialize=False)),
                        ("seq", models.BigIntegerField()),
                        ("type", models.TextField()),
                        ("route", models.TextField()),
                        ("key", models.TextField()),
                        ("subject", models.TextField()),
                        ("error", models.TextField()),
                        ("story", models.TextField()),
                        ("received", models.FloatField()),
                        ("content", models.BinaryField()),
                        ("state", models.IntegerField()),
                        ("attempts", models.IntegerField()),
                        ("due", models.FloatField()),
                    ],
                    options={"managed": False, "db_table": "gateway_messages", "default_permissions": ()},
                ),
                migrations.CreateModel(
                    "Outgoing",
                    [
                        ("id", models.TextField(primary_key=True, serialize=False)),
                        ("seq", models.BigIntegerField()),
                        ("message", models.TextField()),
                        ("kind", models.TextField()),
                        ("lane", models.TextField()),
                        ("behind", models.TextField()),
                        ("recipient", models.TextField()),
                        ("error", models.TextField()),
                        ("since", models.FloatField()),
                        ("content", models.BinaryField()),
                        ("state", models.IntegerField()),
                        ("attempts", models.IntegerField()),
                        ("due", models.FloatField()),
                    ],
                    options={
                        "managed": False,
                        "db_table": "gateway_outgoing",
                        "default_permissions": ("view", "change", "delete"),
                        "verbose_name": "outgoing item",
                    },
                ),
                migrations.CreateModel(
                    "WaitingMessage",
                    [],
                    options={"proxy": True, "default_permissions": ("view",), "verbose_name": "waiting message"},
                    bases=("gateway.message",),
                ),
                migrations.CreateModel(
                    "DeadLetter",
                    [],
                    options={
                        "proxy": True,
                        "default_permissions": ("view", "change", "delete"),
                        "verbose_name": "dead letter",
                    },
                    bases=("gateway.message",),
                ),
            ],
        )
    ]
