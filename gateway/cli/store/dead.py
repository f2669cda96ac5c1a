"""``gateway dead``: dead letters."""

from gateway.cli.store import rendering
from gateway.cli.store.group import CommandGroup
from gateway.console.kept.selection import dead_letters

app = CommandGroup(
    "dead letter",
    rendering.DEAD,
    dead_letters,
    lambda number: f"{number} {'waits' if number == 1 else 'wait'} again",
    {
        "": "Work on dead letters: messages whose last attempt failed, and items that handlers sent and that will "
        "never leave. Safe while the gateway runs.\n\n"
        "Example: gateway dead list --since 2h && gateway dead retry --since 2h",
        "list": "List the dead letters: messages that arrived, then outgoing items.\n\n"
        "Examples: gateway dead list --type email --since 2h · gateway dead list --error 'no such user' --json",
        "show": "Show all of a dead letter but its content: where it came from or goes to, and its error.\n\n"
        "Examples: gateway dead show 7f3a · gateway dead show 7f3a-0 --content > message.eml",
        "retry": "Let dead letters wait again: when the daemon runs, messages that arrived go through its present "
        "routes, with all their attempts, and outgoing items are sent.\n\n"
        "Examples: gateway dead retry 7f3a · gateway dead retry --route tickets --since 2h · gateway dead retry --all",
        "drop": "Drop dead letters for good. Asks first; exit code 1 if the answer is no.\n\n"
        "Examples: gateway dead drop 7f3a · gateway dead drop --error 'opted out' --before 30d --yes",
        "export": "Write one file a dead letter: ID.eml for mail, ID.json for the rest, bytes as base64. They stay in "
        "the store.\n\n"
        "Examples: gateway dead export letters 7f3a · gateway dead export letters --type email",
    },
).app()
