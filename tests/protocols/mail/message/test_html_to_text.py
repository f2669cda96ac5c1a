"""HTML as the text that a person sees, and the bounds before it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.message.html_bounds import MAX_ATTRIBUTES, MAX_DEPTH, MAX_LENGTH, bounded
from protocols.mail.message.html_to_text import html_to_text, own_text
from protocols.mail.message.safe_html import safe_html
from protocols.mail.message.text_to_html import text_to_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello <b>Ann</b>,</p><p>two\n lines<br>here</p>", "Hello Ann,\n\ntwo lines\nhere"),
        ("<ul><li>one<li>two<ul><li>in</ul></ul>after", "- one\n- two\n  - in\n\nafter"),
        ("<ol start=3><li>x<li>y</ol>", "3. x\n4. y"),
        ("<table><tr><th>Name<th>Price<tr><td>Tea<td>3 €</table>", "Name\tPrice\nTea\t3 €"),
        ("<table><tr><td><p class=MsoNormal>Tea</p><td><p class=MsoNormal>3</p></table>", "Tea\t3"),
        ("<table><tr><td>left<br>more<td>right</table>", "left\nmore\nright"),
        ("<div>a</div><div><br></div><div>b</div>", "a\n\nb"),
        (
            "<p class=MsoNormal>a</p><p class=MsoNormal>b</p><p class=MsoNormal>&nbsp;</p><p class=MsoNormal>c</p>",
            "a\nb\n\nc",
        ),
        ("<blockquote>q<p>r</p><blockquote>in</blockquote></blockquote>own", "> q\n>\n> r\n>\n> > in\n\nown"),
        ("<a href='https://www.example.org/'>example.org</a>", "example.org"),
        ("<a href='https://x.org/a'>this</a>.", "this <https://x.org/a>."),
        ("<a href='mailto:a@b.org'>a@b.org</a>", "a@b.org"),
        ("<a href='#top'>top</a> <a href='javascript:x()'>run</a>", "top run"),
        ("a<img src=x alt=':-)'>b<img src=y>", "a:-)b"),
        ("<pre>a\n  b\n\nc</pre>d", "a\n  b\n\nc\n\nd"),
        ("<div style='white-space: pre-wrap'>a  b\nc</div>", "a  b\nc"),
        ("a<hr>b", "a\n-----\nb"),
        ("<title>t</title><style>x{}</style><script>1</script><!-- c -->ok<noscript>n</noscript>", "ok"),
        ("<div style='display:none;max-height:0'>preheader&zwnj;&nbsp;</div>shown", "shown"),
        ("<span style='mso-hide:all'>x</span><span hidden>y</span><i style='visibility: hidden'>z</i>ok", "ok"),
        ("<div style='max-height:100px;font-size:0'><i>shown</i></div>", "shown"),
        ("<!--[if mso]><p>Outlook</p><![endif]--><![if !mso]><p>others</p><![endif]>", "others"),
        ("a&nbsp;&nbsp;b &amp; &lt;c&gt;", "a  b & <c>"),
        ("", ""),
    ],
)
def test_what_a_person_sees(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<div>Yes.</div><div class=gmail_quote><div class=gmail_attr>On x:</div><blockquote>q</blockquote></div>",
            "Yes.\n\n> q",
        ),
        ("Yes.<div id=appendonsend></div><hr><div id=divRplyFwdMsg>From: x</div><div>old</div>", "Yes."),
        ("Yes.<div class='ydp1 yahoo_quoted'>old</div>", "Yes."),
        (
            "<div class=moz-cite-prefix>Am Montag schrieb x:</div><blockquote type=cite>old</blockquote>Yes.",
            "> old\n\nYes.",
        ),
        ("Yes.<div class=gmail_signature>Ada</div>", "Yes."),
    ],
)
def test_what_mail_programs_mark_as_quoted(html: str, text: str) -> None:
    assert own_text(html) == text


@pytest.mark.parametrize(
    ("html", "word"),
    [
        ("<div>" * (MAX_DEPTH + 1), "deep"),
        ("<b>" * 100_000, "deep"),
        ("<a" + " x=1" * (MAX_ATTRIBUTES + 1) + ">", "attributes"),
        ("<a" + "".join(f' x{n}=">"' for n in range(MAX_ATTRIBUTES + 1)) + ">", "attributes"),
        ("<div>" + "".join(f"<font color={n}>" for n in range(400)) + "</div>" + "<p>x" * 100_000, "formatting"),
        ("<p>x" * MAX_LENGTH, "megabyte"),
    ],
)
def test_bounds(html: str, word: str) -> None:
    assert word in bounded(html)[1]


@pytest.mark.parametrize(
    "html",
    [
        "<p>x" * 5000,
        "<table><tr><td>" * 160,
        "<br>" * 5000,
        "<!-- " + "<div>" * 1000 + " -->",
        "<a href='x' class=\"y\">" + "<b>" * 30,
        f"<img src='data:image/png;base64,{'A' * 2 * MAX_LENGTH}'>",
    ],
)
def test_usual_html_is_within_bounds(html: str) -> None:
    assert bounded(html)[1] == ""


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "&",
        "&a",
        "<!--",
        "<a ",
        '<a b="',
        "<p>",
        "<li>",
        "</p>",
        "<br>x",
        "<td>x",
        "<a href=http://x>y</a>",
        "<ul>x",
    ],
)
def test_a_megabyte_of_anything_takes_seconds_at_most(piece: str) -> None:
    safe = bounded(piece * (MAX_LENGTH // len(piece)))[0]
    assert len(html_to_text(safe)) <= 8 * MAX_LENGTH
    assert len(safe_html(safe)) <= 8 * MAX_LENGTH


PIECES = st.sampled_from(
    ["<p>", "</p>", "<ul>", "<li>", "</ul>", "<table>", "<tr>", "<td>", "</table>", "<blockquote>", "</blockquote>",
     "<pre>",
     "</pre>", "<a href=http://x>", "</a>", "<br>", "<hr>", "one ", " two", "\n", "&nbsp;", "<i hidden>", "</i>"],
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map("".join))
def test_no_line_ends_in_a_space_and_no_text_in_an_empty_line(html: str) -> None:
    text = html_to_text(html)
    assert text == text.strip("\n")
    assert not any(line.endswith(" ") for line in text.split("\n"))


VISIBLE = st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zs", "Zl", "Zp"])


@given(st.text(VISIBLE | st.sampled_from(" \n"), max_size=60))
def test_text_comes_back_from_its_html(text: str) -> None:
    """But for empty lines, of which HTML keeps one, and spaces at the ends of lines."""
    words = [line.split() for line in text.split("\n") if line.split()]
    assert [line.split() for line in html_to_text(text_to_html(text)).split("\n") if line.split()] == words


def test_safe_html_keeps_what_is_shown() -> None:
    html = "<p onclick=x()>Hi <b>Ann</b> <img src='cid:1'><script>x</script><style>y</style></p><form><input></form>"
    assert safe_html(html) == '<p>Hi <b>Ann</b> <img src="cid:1"></p>'
