"""``gateway outgoing``: what handlers sent and what has not left."""

from gateway.cli.store import rendering
from gateway.cli.store.group import CommandGroup
from gateway.console.kept.selection import outgoing_items

app = CommandGroup(
    "outgoing item",
    rendering.OUTGOING,
    outgoing_items,
    lambda number: f"{number} to be tried now",
    {
        "": "Work on outgoing items, which handlers sent and which have not left: each waits, rests because its "
        "account is refused, is dead because it was refused for good, or is damaged. Safe while the gateway runs.\n\n"
        "Example: gateway outgoing list --type email && gateway outgoing retry --type email",
        "list": "List the items that have not left, and why: to whom they go, attempts, next try, the last error.\n\n"
        "Examples: gateway outgoing list --state resting · gateway outgoing list --recipient @example.net --json",
        "show": "Show all of an outgoing item but its content: to whom it goes, and why it has not left.\n\n"
        "Examples: gateway outgoing show 7f3a · gateway outgoing show 7f3a --content > message.eml",
        "retry": "Try items now: those that wait, those that rest (their account is tried again) and those that are "
        "dead (their time begins again). Damaged ones cannot be sent.\n\n"
        "Examples: gateway outgoing retry 7f3a · gateway outgoing retry --error 'relay access denied'",
        "drop": "Drop outgoing items for good: they are never sent. Asks first; exit code 1 if the answer is no."
        "\n\nExamples: gateway outgoing drop 7f3a · gateway outgoing drop --state dead --before 30d --yes",
        "export": "Write one file an item: ID.eml for mail, ID.json for the rest, bytes as base64. They stay in the "
        "store.\n\n"
        "Examples: gateway outgoing export unsent 7f3a · gateway outgoing export unsent --state dead",
    },
    states=True,
).app()
