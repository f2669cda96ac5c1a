"""Which files belong to a version."""

from pathlib import Path

import pytest

from gateway.reload.watched import Watched

SITE = Watched(
    frozenset({Path("/site"), Path("/site/app")}), frozenset({Path("/etc/gateway.yaml")}), frozenset({Path("/pages")})
)


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/site/handlers.py", True),
        ("/site/app/deep/handlers.py", True),
        ("/site/page.html", True),
        ("/site/page.jinja", True),
        ("/site/templates/mail/body.txt", True),
        ("/pages/anything", True),
        ("/etc/gateway.yaml", True),
        ("/etc/other.yaml", False),
        ("/elsewhere/handlers.py", False),
        ("/site/var/gateway.db", False),
        ("/site/var/outbox/new/1.eml", False),
        ("/site/daemon.log", False),
        ("/site/.handlers.py.swp", False),
        ("/site/.#handlers.py", False),
        ("/site/templates/body.txt~", False),
        ("/site/templates", False),
    ],
)
def test_what_counts(path: str, counts: bool) -> None:
    assert SITE.has(Path(path)) is counts


def test_a_folder_is_watched_once(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    watched = Watched(
        frozenset({tmp_path, tmp_path / "app", tmp_path / "none"}), frozenset({tmp_path / "gateway.yaml"})
    )
    assert watched.roots() == [tmp_path]


def test_it_goes_through_a_message_unchanged() -> None:
    assert Watched.of(SITE.as_message()) == SITE
