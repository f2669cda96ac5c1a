"""Finds what a person wrote now in the text of an answer: without the quoted mail below, above or between, and without
the signature.

The rules look at addresses, dates and punctuation, and know hardly any words, because each mail program has its own
sentence in each language. Each rule takes time linear in the length; the libraries for this take minutes for some mails
of 10 kB.
"""

import re
from itertools import takewhile

from protocols.mail.message.words import words

LONGEST = 256 * 1024
"""Characters that are read; what a person writes is shorter, and what follows is left out."""
_LONGEST_ATTRIBUTION = 300
"""Characters of the line above a quote, which may be wrapped."""
_WRAPPED = 3
"""Lines of it."""
_LONGEST_BLOCK = 30
"""Lines of a block of header fields."""
_LAST_LINES = 15
"""A signature is at most so long."""

_ADDRESS = re.compile(r"[^\s<>()\[\]:;,\"]{1,64}@[^\s<>()\[\]:;,\"]{1,255}")
_IN_BRACKETS = re.compile(r"[<\[](?:mailto:)?[^\s<>()\[\]:;,\"]{1,64}@[^\s<>()\[\]:;,\"]{1,255}[>\]]")
_DATE = re.compile(
    r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{1,2}\s?[:.hH時时시]\s?\d{2}(?!\d)|(?<!\d)\d{4}\s?[年년]|(?<!\d)[12]\d{3}(?!\d)"
)
"""A date in numbers, a time, or a year (also of the Buddhist and the Persian calendar), in the digits of any script."""
_NEEDED = re.compile(r"[@\d]")
"""What each address has, or each date."""
_PLAIN = {
    **dict.fromkeys([*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF]),
    0x66B: ".",
    0xFF1A: ":",
    0xFF1E: ">",
}
"""Marks of the direction of text, which stand around addresses in Hebrew and Arabic, are left out; full-width signs
become those of ASCII."""
_UNUSUAL = re.compile(f"[{''.join(map(chr, _PLAIN))}]")
_DASH = "-_=*\u2010-\u2015\u2500\u2501"
_SEPARATOR = re.compile(rf"[{_DASH}]{{5,}}|[{_DASH}]{{2,}}[ \xa0]?[^{_DASH}].{{0,78}}?[{_DASH}]{{2,}}")
_GROUPWISE = re.compile(r">>> .{1,200}\d.{0,50} >>>")
"""GroupWise's line above the earlier mail, which has no other marks."""
_FIELD = re.compile(r"[*_ ]{0,3}([^\s:*<>@\d][^:*<>@]{0,30}?)[*_ \xa0]{0,3}:(?!//)(.*)", re.DOTALL)
_FORWARDED = re.compile(
    r"(begin forwarded message|anfang der weitergeleiteten nachricht|début du message (réexpédié|transféré)"
    r"|inizio messaggio inoltrato|inicio del mensaje reenviado|início da mensagem (re)?encaminhada"
    r"|begin doorgestuurd bericht|start på videresendt (besked|melding)|vidarebefordrat (brev|mejl)"
    r"|początek przekazywanej wiadomości|начало переадресованного сообщения|转发的邮件|開始轉寄郵件"
    r"|転送されたメッセージ|전달된 메시지)\s?:",
    re.IGNORECASE,
)
"""Apple Mail's line above the fields of a forwarded mail."""
_FROM = words(
    """from|von|de|da|van|od|fra|från|frá|lähettäjä|от|от кого|від|kimden|gönderen|feladó|από|מאת|من|از|发件人|發件人
    |寄件者|寄件人|差出人|送信者|보낸 사람|보낸사람|dari|pengirim|จาก|từ|người gửi|expéditeur|remitente|remetente
    |mittente|absender|afzender|nadawca|odesílatel|odosielateľ|expeditor|de la|saatja|no|nuo|пошиљалац|изпратено от
    |प्रेषक""",
    "|",
)
"""The first label of a quoted header, as mail programs translate it."""
_DEVICE = re.compile(
    r"iphone|ipad|ios|android|outlook|galaxy|samsung|huawei|xiaomi|blackberry|windows|yahoo|proton|gmx|web\.de|mail\.ru"
    r"|yandex|thunderbird|smartphone|mobile?\b|handy|tablet|spark|mailbird|bluemail|aqua ?mail|k-9",
    re.IGNORECASE,
)
_SENT = re.compile(
    r"sent |get |gesendet|gesandt|holen|laden|envoyé|télécharge|obtene[rz]|obtenir|enviad|obter|obtenha|inviato"
    r"|scarica|ottieni|verstuurd|verzonden|download|sendt|hent|skickat|hämta|lähetetty|hanki|wysłan|pobierz|odesl|odosl|získ"
    r"|küldve|trimis|εστάλη|στάλθηκε|отправлен|надіслано|изпратено|gönderil|נשלח|أرسل|مرسل|ارسال|送信|发自|發自|发送|傳送|寄出|보냄|보낸|"
    r"ส่งจาก|gửi từ|dikirim|भेजा",
    re.IGNORECASE,
)
_LONGEST_FOOTER = 120


def reply_text(text: str) -> str:
    """Return the words of ``text`` that its writer added; all of it, if that leaves none."""
    text = text[:LONGEST]
    lines = [line.rstrip() for line in text.splitlines()]
    own = _without_footers(_without_quotes(lines))
    return "\n".join(_one_blank(own)).strip("\n") or text.strip()


def _without_quotes(lines: list[str]) -> list[str]:
    plain = [(line.translate(_PLAIN) if _UNUSUAL.search(line) else line).strip() for line in lines]
    kept: list[str] = []
    number = 0
    while number < len(lines):
        if _rest_is_quoted(plain, number):
            return _without_separator(kept)
        if _is_quote(plain, number):
            kept += [""] if kept and kept[-1] else []
            number += 1
            continue
        kept.append(lines[number])
        wrapped = _attribution(plain, number)
        if wrapped:
            kept = [*_without_separator(kept[:-wrapped]), ""]
            if not _quote_follows(plain, number):
                return kept
        number += 1
    return kept


def _is_quote(plain: list[str], number: int) -> bool:
    """Whether the line is quoted. A single ``>From`` is not: that is how mbox files write ``From``."""
    if not plain[number].startswith(">"):
        return False
    around = plain[max(0, number - 1) : number] + plain[number + 1 : number + 2]
    return not plain[number].startswith(">From ") or any(line.startswith(">") for line in around)


def _quote_follows(plain: list[str], number: int) -> bool:
    following = plain[number + 1 : number + 4]
    return next((_is_quote(following, at) for at, line in enumerate(following) if line), False)


def _attribution(plain: list[str], number: int) -> int:
    """Return how many lines, of which this is the last, say who wrote what is quoted below (0 for none).

    They end in a colon and hold an address and a date, or one of them with a quote below.
    """
    if not plain[number].endswith(":"):
        return 0
    if not any(map(_NEEDED.search, plain[max(0, number + 1 - _WRAPPED) : number + 1])):
        return 0
    quoted = _quote_follows(plain, number)
    one = 0
    for count in range(1, _WRAPPED + 1):
        above = plain[max(0, number - count + 1) : number + 1]
        if len(above) < count or not above[0] or _is_quote(above, 0):
            break
        said = " ".join(above)
        if len(said) > _LONGEST_ATTRIBUTION:
            break
        has_date = bool(_DATE.search(said))
        if has_date and (_ADDRESS if quoted else _IN_BRACKETS).search(said):
            return count + _begins_above(plain, number, count)
        one = one or (count if quoted and (has_date or _ADDRESS.search(said)) else 0)
    return one


def _begins_above(plain: list[str], number: int, count: int) -> int:
    """Return 1 if the line above an attribution of ``count`` lines begins it: it has a date, and none is above it."""
    above = number - count
    if count >= _WRAPPED or above < 0 or not _DATE.search(plain[above][:_LONGEST_ATTRIBUTION]):
        return 0
    return int(len(plain[above]) <= _LONGEST_ATTRIBUTION and (above == 0 or not plain[above - 1]))


def _rest_is_quoted(plain: list[str], number: int) -> bool:
    """Whether a block of header fields, or the line above one, begins here: all below is the earlier mail."""
    line = plain[number]
    if not line or len(line) > _LONGEST_ATTRIBUTION:
        return False
    if _SEPARATOR.fullmatch(line) or _FORWARDED.match(line):
        return _divides(plain, number)
    if _GROUPWISE.fullmatch(line):
        return True
    return not (number and plain[number - 1]) and _is_header(plain, number)


def _divides(plain: list[str], number: int) -> bool:
    """Whether header fields follow the separator. A line that names what follows needs one field, a bare one three."""
    start = next((at for at in range(number + 1, min(number + 4, len(plain))) if plain[at]), number)
    fields = _fields(plain, start) if start > number else []
    named = any(map(str.isalnum, plain[number]))
    return len(fields) >= (1 if named else 3) and (
        named or any(_DATE.search(v) or _ADDRESS.search(v) for _, v in fields)
    )


def _is_header(plain: list[str], number: int) -> bool:
    """Whether a quoted header stands here, though no line divides it from what is above.

    Forms have such lines, too. A header's first field is a From: it has an address in brackets, or such a label. Where
    the date is the first, the From has both.
    """
    fields = _fields(plain, number)[:4]
    if len(fields) < 3 or not any(_DATE.search(value) for _, value in fields):
        return False
    authors = [value for label, value in fields[:3] if label.lower() in _FROM]
    first = fields[0][1]
    return bool(first in authors or _IN_BRACKETS.search(first) or any(map(_IN_BRACKETS.search, authors)))


def _fields(plain: list[str], number: int) -> list[tuple[str, str]]:
    """Return (label, value) for each line from here on that looks like a header field."""
    fields: list[tuple[str, str]] = []
    for line in takewhile(bool, plain[number : number + _LONGEST_BLOCK]):
        field = _FIELD.fullmatch(line[:_LONGEST_ATTRIBUTION])
        if field and len(field[1].split()) <= 3:
            fields.append((field[1], field[2]))
        elif not fields or not _ADDRESS.search(line[:_LONGEST_ATTRIBUTION]):  # the recipients may take several lines
            break
    return fields


def _without_separator(lines: list[str]) -> list[str]:
    """Return ``lines`` without blank lines and separators at the end."""
    end = len(lines)
    while end and (not lines[end - 1].strip() or _SEPARATOR.fullmatch(lines[end - 1].strip()[:_LONGEST_ATTRIBUTION])):
        end -= 1
    return lines[:end]


def _without_footers(lines: list[str]) -> list[str]:
    """Return ``lines`` without the signature, and without what telephones add."""
    lines = _without_separator(lines)
    first = max(0, len(lines) - _LAST_LINES)
    signature = next((number for number in range(first, len(lines)) if lines[number].strip(" \t") in ("--", "—")), None)
    lines = lines[:signature]
    while lines and (not lines[-1].strip() or _is_footer(lines[-1])):
        lines.pop()
    return lines


def _is_footer(line: str) -> bool:
    said = line.split("<http")[0].strip()
    return len(said) <= _LONGEST_FOOTER and bool(_DEVICE.search(said) and _SENT.search(said)) and said[-1:] != "?"


def _one_blank(lines: list[str]) -> list[str]:
    """Return ``lines`` without a blank line behind another one."""
    return [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]
