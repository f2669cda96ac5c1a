"""A small line that shows how a figure went: SVG within the page."""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 120, 24
_LINE = Markup(
    '<svg class="sparkline" role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}" '
    'height="{height}"><title>{label}</title>{lines}</svg>'
)
_PART = Markup('<polyline points="{points}"/>')


def sparkline(values: Sequence[float | None], label: str) -> Markup:
    """Draw ``values``, the oldest first, from zero to the largest of them; None is a gap. ``label`` says in words what
    is drawn."""
    known = [value for value in values if value is not None]
    if not known:
        return Markup("")
    most, step = max(known) or 1.0, WIDTH / max(1, len(values) - 1)
    parts: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            parts.append([])
        else:
            parts[-1].append(f"{number * step:.1f},{HEIGHT - 1 - value / most * (HEIGHT - 2):.1f}")
    lines = Markup("").join(
        _PART.format(points=" ".join(part if len(part) > 1 else part * 2)) for part in parts if part
    )
    return _LINE.format(label=label, width=WIDTH, height=HEIGHT, lines=lines)
