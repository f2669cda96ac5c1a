import django.db.models.deletion
from django.db import migrations, models

import helpdesk.models


class Migration(migrations.Migration):
    dependencies = [
        ("helpdesk", "0003_threads"),
    ]

    operations = [
        migrations.AddField(
            model_name="attachment",
            name="position",
            field=models.PositiveIntegerField(default=0, help_text="Its place among the files of its mail."),
        ),
        migrations.AddField(
            model_name="mail",
            name="whole",
            field=models.TextField(blank=True, help_text="All of its text, with what it quotes, if that is more."),
        ),
        migrations.AddField(
            model_name="ticket",
            name="reply_to",
            field=models.EmailField(
                blank=True, help_text="Our signed address: mail to it belongs to this ticket.", max_length=254
            ),
        ),
        migrations.AlterField(
            model_name="attachment",
            name="file",
            field=models.FileField(max_length=600, upload_to=helpdesk.models.place),
        ),
        migrations.AlterField(
            model_name="mail",
            name="text",
            field=models.TextField(blank=True, help_text="What its sender wrote now."),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="related",
            field=models.ForeignKey(
                blank=True,
                help_text="The ticket that its first mail answers, although this sender has not written there.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to="helpdesk.ticket",
            ),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="sender",
            field=models.EmailField(help_text="The person who asked: answers go there.", max_length=254),
        ),
    ]
