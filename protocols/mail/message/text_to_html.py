"""Turns plain text into HTML that shows it."""

from html import escape


def text_to_html(text: str) -> str:
    """Return HTML that shows ``text`` with its lines and spaces; nothing for an empty text."""
    lines = escape(text).replace("  ", "&nbsp; ").replace("\n", "<br>\n")
    return f"<div>{lines}</div>" if text else ""
