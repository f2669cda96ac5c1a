"""The configuration in force, its routes and its certificates, over HTTP."""

from typing import Any

from protocols.access.users import hash_password

HASH = hash_password(b"right")


async def test_no_secret_is_shown(site: Any) -> None:
    more = """
submission: {url: "smtps://127.0.0.1:1", username: ann, password: hunter2}
reply_tokens: {secret: hunter2-hunter2-hunter2-hunter2-hunter2}
"""
    console = f"users: {{ann: '{HASH}'}}, metrics_token: hunter2"
    async with site(console=console, more=more) as here, here.new_client(auth=("ann", "right")) as script:
        answer = await script.get("/api/configuration")
        assert "hunter2" not in answer.text
        assert HASH.rpartition("$")[2] not in answer.text
        settings = answer.json()["settings"]
        assert settings["console"]["users"] == {"ann": "***"}
        assert settings["console"]["metrics_token"] == "***"
        assert settings["submission"]["password"] == "***"
        assert settings["servers"]["devices"]["protocol"] == "mqtt"
        assert settings["servers"]["devices"]["max_packet"] > 0, "defaults are shown"


async def test_the_routes_are_listed_with_their_policies(site: Any) -> None:
    async with site() as here:
        found = (await here.get("/api/routes")).json()["routes"]
    assert [(each["type"], each["inbox"], each["attempts"]) for each in found] == [
        ("http", False, None),
        ("mqtt", False, None),
        ("email", True, 1),
    ]
    assert found[2]["target"] == "console_page_handlers.Desk"
