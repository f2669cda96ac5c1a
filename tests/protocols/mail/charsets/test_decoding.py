"""Text from bytes: by labels as senders write them, without a label, and where nothing fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webencodings.labels import LABELS

from protocols.mail.charsets import codec_of, decode_text, guess
from protocols.mail.charsets.guess import guessed

NONE = ("replacement", "x-user-defined")
"""What the Encoding Standard does not decode, or not to characters."""


@pytest.mark.parametrize("label", [label for label, name in LABELS.items() if name not in NONE])
def test_every_label_of_the_web_is_known(label: str) -> None:
    codec = codec_of(label)
    assert codec is not None
    assert decode_text("plain".encode(codec), label.upper()) == "plain"


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("ISO-8859-1", "cp1252"),
        ('"iso-8859-1"', "cp1252"),
        ("latin-2", "iso8859-2"),
        ("8859-15", "iso8859-15"),
        ("iso-8859-1;format=flowed", "cp1252"),
        ("windows1251", "cp1251"),
        ("win-1252", "cp1252"),
        ("x-ibm-437", "cp437"),
        ("utf8-mb4", "utf-8"),
        ("unicode-2-0-utf-8", "utf-8"),
        ("_iso-2022-jp$ESC", "iso2022_jp"),
        ("tis620", "cp874"),
        ("ks_c_5601-1987", "cp949"),
        ("GB2312", "gb18030"),
        ("us-ascii", "ascii"),
        *(
            (label, None)
            for label in ("", "x-unknown", "8bit", "default", "unknown-8bit", "hex", "idna", "\0", "utf-9")
        ),
    ],
)
def test_labels_as_senders_write_them(label: str, codec: str | None) -> None:
    assert codec_of(label) == codec


@pytest.mark.parametrize(
    ("raw", "label", "text"),
    [
        (b"\x93quoted\x94 \x80 \x81", "iso-8859-1", "“quoted” € \x81"),
        ("Grüße".encode("latin-1"), "us-ascii", "Grüße"),
        ("Grüße".encode(), "us-ascii", "Grüße"),
        ("Grüße".encode(), "windows-1252", "GrÃ¼ÃŸe"),  # the label counts, as in every mail program
        ("Ángel".encode(), "windows-1252", "Ángel"),  # 0x81 is none of its characters
        ("Grüße aus Köln".encode("latin-1"), "utf-8", "Grüße aus Köln"),
        (b"\xef\xbb\xbfmarked", "", "marked"),
        (b"\xef\xbb\xbfmarked", "iso-8859-1", "marked"),
        ("marked, and long".encode("utf-16"), "", "marked, and long"),
        ("plain text".encode("utf-16-le"), "unicode", "plain text"),
        (b"plain text", "utf-16", "plain text"),
        ("Schöne Grüße und vielen Dank".encode("latin-1"), "utf-16", "Schöne Grüße und vielen Dank"),
        ("日本".encode("utf-16-le"), "utf-16", "日本"),
        (b"Hi Mom +2Do-3+ACE-", "utf-7", "Hi Mom \ufffd3!"),
        (b"Caf+AOk- +Jjo-", "unicode-1-1-utf-7", "Café ☺"),
        ("中文\u3400".encode("gb18030"), "gb2312", "中文\u3400"),
        ("中文 abc 测试 ok 再见".encode("gbk") + b"\xff", "gb2312", "中文 abc 测试 ok 再见\ufffd"),
        ("谢谢你的来信".encode() + "再见".encode()[:-1], "utf-8", "谢谢你的来信再\ufffd"),
        ("您好 我的订单还没有收到 谢谢".encode("gb18030"), "utf-8", "您好 我的订单还没有收到 谢谢"),
        ("Viele Grüße\n".encode() + "Abonnement für Sie".encode("latin-1"), "utf-8", "Viele Grüße\nAbonnement für Sie"),
        (b"Thanks \xed\xa0\xbd\xed\xb8\x80", "utf-8", "Thanks \U0001f600"),
        (b"Thanks \xed\xa0\xbd", "utf-8", "Thanks \ufffd"),
        ("日本語".encode(), "iso-2022-jp", "日本語"),
        ("日本語で".encode("euc_jp"), "iso-2022-jp", "日本語で"),
        ("日本語".encode("iso2022_jp"), "", "日本語"),
        (b"\x1b$BF|K\\\r\nplain, in the next line", "iso-2022-jp", "日本\r\nplain, in the next line"),
        (b"\x1b$BF|K\\(B, without its ESC", "iso-2022-jp", "日本, without its ESC"),
        (b"\x1b$(D\x30\x21\x1b(B", "iso-2022-jp", "丂"),
        (b"plain", "iso-2022-jp", "plain"),
        ("안녕".encode("iso2022_kr"), "iso-2022-kr", "안녕"),
        ("你好".encode("hz"), "hz-gb-2312", "你好"),
        (b"", "utf-8", ""),
    ],
)  # fmt: skip
def test_what_is_found_under_labels(raw: bytes, label: str, text: str) -> None:
    assert decode_text(raw, label) == text


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Sehr geehrte Damen und Herren, für die Überweisung danke ich. Grüße", "cp1252"),
        ("Bonjour, voilà la pièce jointe demandée. À bientôt, François", "cp1252"),
        ("Désolé, ça ne marche pas à l'école", "cp1252"),
        ("¿Cuándo llegará mi pedido? Mañana vendré a la oficina, señor.", "cp1252"),
        ("Não consigo acessar a minha conta. Obrigado pela atenção, João", "cp1252"),
        ("Hej, jag får inget svar på min fråga. Hälsningar, Åsa", "cp1252"),
        ("Kære kundeservice, jeg har ikke fået min ordre. Venlig hilsen Søren", "cp1252"),
        ("Dzień dobry, proszę o pomoc w sprawie zamówienia. Pozdrawiam, Małgorzata", "cp1250"),
        ("Dzień dobry, proszę o pomoc. Źle działa ściąganie. Małgorzata", "iso8859_2"),
        ("Dobrý den, prosím o zaslání faktury. Děkuji, Jiří Dvořák, žluťoučký kůň", "cp1250"),
        ("Bună ziua, aş dori să ştiu unde este comanda mea. Mulţumesc", "cp1250"),
        ("Здравствуйте, я не могу войти в систему. Пожалуйста, помогите.", "cp1251"),
        ("Здравствуйте, я не могу войти в систему. Пожалуйста, помогите.", "koi8_r"),
        ("Здравствуйте, я не могу войти в систему. Пожалуйста, помогите.", "cp866"),
        ("Добрий день, де моє замовлення? Дякую за відповідь, Юлія", "cp1251"),
        ("Καλημέρα, πού είναι η παραγγελία μου; Ευχαριστώ πολύ", "cp1253"),
        ("Merhaba, siparişim nerede? Teşekkür ederim, İyi günler, ığüşöç", "cp1254"),
        ("مرحبا، أين طلبي؟ شكرا جزيلا لكم", "cp1256"),
        ("สวัสดีครับ สินค้าของผมอยู่ที่ไหน ขอบคุณครับ", "cp874"),
        ("お世話になっております。注文した商品がまだ届きません。", "cp932"),
        ("お世話になっております。注文した商品がまだ届きません。", "euc_jp"),
        ("您好 我的订单还没有收到 请帮忙查询一下。谢谢。", "gb18030"),
        ("您好 我的訂單還沒有收到 請幫忙查詢一下。謝謝。", "big5"),
        ("안녕하세요, 주문한 상품이 아직 도착하지 않았습니다. 감사합니다.", "cp949"),
    ],
)
def test_undeclared_text_is_guessed(text: str, codec: str) -> None:
    assert decode_text(text.encode(codec)) == text
    assert decode_text(b"Some plain lines come first.\n" * 9000 + text.encode(codec)).endswith(text)


@pytest.mark.parametrize(
    ("raw", "other", "text"),
    [
        ("Привет".encode("koi8-r"), "koi8-r", "Привет"),
        ("Привет".encode(), "koi8-r", "Привет"),
        ("Grüße".encode("latin-1"), "", "Grüße"),
        ("发票".encode("gbk"), "gb2312", "发票"),
        ("Grüße".encode("latin-1"), "utf-8", "Grüße"),
        ("Grüße".encode("latin-1"), "us-ascii", "Grüße"),
        ("Grüße".encode("latin-1"), "x-unknown", "Grüße"),
    ],
)
def test_short_undeclared_text_is_in_the_charset_of_the_same_mail(raw: bytes, other: str, text: str) -> None:
    assert decode_text(raw, "", other) == text


def test_a_guess_looks_at_a_bounded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    import charset_normalizer

    seen: list[int] = []
    real = charset_normalizer.from_bytes

    def counted(sample: bytes, **options: object) -> object:
        seen.append(len(sample))
        return real(sample, **options)

    monkeypatch.setattr(charset_normalizer, "from_bytes", counted)
    for raw in (
        b"\xe9" * 5_000_000,
        b"\xe9\n" * 2_500_000,
        b"a" * 5_000_000 + b"\xe9" * 100,
        bytes(range(256)) * 20_000,
    ):
        guessed(raw)
    assert seen
    assert max(seen) <= guess.SAMPLE


@given(st.text(min_size=1, max_size=200), st.sampled_from(sorted({codec_of(label) or "" for label in LABELS} - {""})))
def test_text_comes_back_from_its_charset(text: str, codec: str) -> None:
    raw = text.encode(codec, "ignore")
    strict = raw.decode(codec)
    if codec.startswith(("utf-16", "iso2022")) or raw.startswith(b"\xef\xbb\xbf"):
        decode_text(raw, codec).encode()  # these are read by rules of their own
    else:
        assert decode_text(raw, codec) == strict


@given(
    st.binary(max_size=300),
    st.sampled_from([*LABELS, "", "utf-7", "hz", "iso-2022-kr"]),
    st.sampled_from(["", "gbk", "utf-16"]),
)
def test_any_bytes_under_any_label_are_text(raw: bytes, label: str, other: str) -> None:
    decode_text(raw, label, other).encode()
