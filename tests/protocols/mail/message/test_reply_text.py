"""What a person wrote now, in answers of many mail programs and languages. All texts are our own."""

# ruff: noqa: RUF001  # letters of other scripts are what these tests are about

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.message.reply_text import LONGEST, reply_text

OWN = "Thank you, it works now.\n\nBest wishes\nAda"
QUOTED = "> Dear Ada,\n>\n> have you tried to switch it off and on?\n>\n> Carl"

ATTRIBUTIONS = [
    # Gmail
    "On Mon, Nov 23, 2026 at 9:15 AM Carl Shop <carl@shop.example> wrote:",
    "Am Mo., 23. Nov. 2026 um 09:15 Uhr schrieb Carl Shop <carl@shop.example>:",
    "Le lun. 23 nov. 2026 à 09:15, Carl Shop <carl@shop.example> a écrit :",
    "El lun, 23 nov 2026 a las 9:15, Carl Shop (<carl@shop.example>) escribió:",
    "Il giorno lun 23 nov 2026 alle ore 09:15 Carl Shop <carl@shop.example> ha scritto:",
    "Em seg., 23 de nov. de 2026 às 09:15, Carl Shop <carl@shop.example> escreveu:",
    "Op ma 23 nov 2026 om 09:15 schreef Carl Shop <carl@shop.example>:",
    "Den mån 23 nov. 2026 kl 09:15 skrev Carl Shop <carl@shop.example>:",
    "man. 23. nov. 2026 kl. 09:15 skrev Carl Shop <carl@shop.example>:",
    "ma 23. marrask. 2026 klo 9.15 Carl Shop (carl@shop.example) kirjoitti:",
    "pon., 23 lis 2026 o 09:15 Carl Shop <carl@shop.example> napisał(a):",
    "po 23. 11. 2026 v 9:15 odesílatel Carl Shop <carl@shop.example> napsal:",
    "Carl Shop <carl@shop.example> ezt írta (időpont: 2026. nov. 23., H, 9:15):",
    "Carl Shop <carl@shop.example>, 23 Kas 2026 Pzt, 09:15 tarihinde şunu yazdı:",
    "пн, 23 нояб. 2026 г. в 09:15, Carl Shop <carl@shop.example>:",
    "пн, 23 лист. 2026 р. о 09:15 Carl Shop <carl@shop.example> пише:",
    "Στις Δευ 23 Νοε 2026 στις 9:15 π.μ., ο χρήστης Carl Shop <carl@shop.example> έγραψε:",
    "2026年11月23日(月) 9:15 Carl Shop <carl@shop.example>:",
    "Carl Shop <carl@shop.example> 于2026年11月23日周一 09:15写道：",
    "2026년 11월 23일 (월) 오전 9:15, Carl Shop <carl@shop.example>님이 작성:",
    "\u202bבתאריך יום ב׳, 23 בנוב׳ 2026 ב-9:15 מאת \u202aCarl\u202c\u200f <\u202acarl@shop.example\u202c\u200f>:\u202c",
    "في الاثنين، ٢٣ نوفمبر ٢٠٢٦ في ٩:١٥ ص تمت كتابة ما يلي بواسطة \u202aCarl\u202c <carl@shop.example>:",
    "ในวันที่ จ. 23 พ.ย. 2569 เวลา 09:15 Carl Shop <carl@shop.example> เขียนว่า:",
    "Vào Th 2, 23 thg 11, 2026 vào lúc 09:15 Carl Shop <carl@shop.example> đã viết:",
    # Apple Mail
    "On 23 Nov 2026, at 09:15, Carl Shop <carl@shop.example> wrote:",
    "Am 23.11.2026 um 09:15 schrieb Carl Shop <carl@shop.example>:",
    "Le 23 nov. 2026 à 09:15, Carl Shop <carl@shop.example> a écrit :",
    # Thunderbird: no address
    "On 11/23/26 9:15 AM, Carl Shop wrote:",
    "Am 23.11.26 um 09:15 schrieb Carl Shop:",
    "Le 23/11/2026 à 09:15, Carl Shop a écrit\xa0:",
    "El 23/11/26 a las 9:15, Carl Shop escribió:",
    # others
    '05.11.2026, 09:15, "Carl" <carl@shop.example>:',
    "Понедельник, 23 ноября 2026, 9:15 +03:00 от Carl Shop <carl@shop.example>:",
    "On Monday, November 23rd, 2026 at 9:15 AM, Carl Shop <carl@shop.example> wrote:",
    'At 2026-11-23 09:15:00, "Carl Shop" <carl@shop.example> wrote:',
    '在 2026-11-23 09:15:00，"Carl Shop" <carl@shop.example> 写道：',
    "Quoting Carl Shop <carl@shop.example>:",
]
BLOCKS = [
    "From: Carl Shop <carl@shop.example>\nSent: Monday, November 23, 2026 9:15 AM\nTo: Ada\nSubject: RE: The lamp",
    "Von: Carl Shop <carl@shop.example>\nGesendet: Montag, 23. November 2026 09:15\nAn: Ada\nCc:\nBetreff: Die Lampe",
    "De : Carl Shop <carl@shop.example>\nEnvoyé : lundi 23 novembre 2026 09:15\nÀ : Ada\nObjet : La lampe",
    "De: Carl Shop <carl@shop.example>\nEnviado el: lunes, 23 de noviembre de 2026 9:15\nPara: Ada\nAsunto: La lámpara",
    "Da: Carl Shop <carl@shop.example>\nInviato: lunedì 23 novembre 2026 09:15\nA: Ada\nOggetto: La lampada",
    "Van: Carl Shop <carl@shop.example>\nVerzonden: maandag 23 november 2026 09:15\nAan: Ada\nOnderwerp: De lamp",
    "От: Carl Shop <carl@shop.example>\nОтправлено: 23 ноября 2026 г. 9:15\nКому: Ada\nТема: Лампа",
    "发件人: Carl Shop <carl@shop.example>\n发送时间: 2026年11月23日 9:15\n收件人: Ada\n主题: 灯",
    "差出人: Carl Shop\n送信日時: 2026年11月23日 9:15\n宛先: Ada\n件名: ランプ",
    "*From:* Carl Shop <carl@shop.example>\n*Sent:* Monday, November 23, 2026 9:15 AM\n*To:* Ada\n*Subject:* The lamp",
    "________________________________\nFrom: Carl Shop\nSent: Monday, November 23, 2026\nTo: Ada\nSubject: The lamp",
    "-----Original Message-----\nFrom: Carl Shop\nSent: Monday, November 23, 2026\nTo: Ada\nSubject: The lamp",
    "-----Ursprüngliche Nachricht-----\nVon: Carl Shop\nGesendet: 23.11.2026\nAn: Ada\nBetreff: Die Lampe",
    '------------------ 原始邮件 ------------------\n发件人: "Carl" <carl@shop.example>;\n发送时间: 2026年11月23日',
    "---------- Forwarded message ---------\nFrom: Carl Shop <carl@shop.example>\nDate: Mon, Nov 23, 2026\nSubject: x",
    "Begin forwarded message:\n\nFrom: Carl Shop <carl@shop.example>\nSubject: The lamp\nDate: 23 November 2026, 09:15",
    "Anfang der weitergeleiteten Nachricht:\n\nVon: Carl <carl@shop.example>\nBetreff: Die Lampe\nDatum: 23.11.2026",
]
FOOTERS = [
    "Sent from my iPhone",
    "Von meinem iPhone gesendet",
    "Envoyé de mon iPhone",
    "Enviado desde mi iPhone",
    "Inviato da iPhone",
    "Verstuurd vanaf mijn iPhone",
    "Skickat från min iPhone",
    "Sendt fra min iPhone",
    "Lähetetty iPhonesta",
    "Wysłane z iPhone'a",
    "Отправлено с iPhone",
    "iPhone'umdan gönderildi",
    "iPhoneから送信",
    "发自我的iPhone",
    "나의 iPhone에서 보냄",
    "Get Outlook for Android<https://aka.ms/example>",
    "Gesendet von Mail für Windows",
    "-- \nAda Brook\n12 Long Lane",
    "--\nAda",
]


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_an_answer_above_the_quote(attribution: str) -> None:
    assert reply_text(f"{OWN}\n\n{attribution}\n{QUOTED}\n") == OWN
    assert reply_text(f"{OWN}\n\n{attribution}\n\n{QUOTED}\n") == OWN


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_an_answer_below_the_quote(attribution: str) -> None:
    assert reply_text(f"{attribution}\n{QUOTED}\n\n{OWN}\n") == OWN


@pytest.mark.parametrize("attribution", [each for each in ATTRIBUTIONS if "<" in each and "Quoting" not in each])
def test_a_quote_without_marks_goes_on_to_the_end(attribution: str) -> None:
    assert reply_text(f"{OWN}\n\n{attribution}\n\nDear Ada,\n\nit is broken.\n") == OWN


@pytest.mark.parametrize("attribution", [each for each in ATTRIBUTIONS if len(each) > 60])
def test_a_line_that_the_program_wrapped(attribution: str) -> None:
    before, space, after = attribution[:60].rpartition(" ")
    wrapped = f"{before}\n{after}{attribution[60:]}" if space else attribution
    assert reply_text(f"{OWN}\n\n{wrapped}\n{QUOTED}\n") == OWN


@pytest.mark.parametrize("block", BLOCKS)
def test_the_header_of_the_mail_below(block: str) -> None:
    assert reply_text(f"{OWN}\n\n{block}\n\nDear Ada,\n\nit is broken.\n") == OWN


@pytest.mark.parametrize("footer", FOOTERS)
def test_signatures_and_what_telephones_add(footer: str) -> None:
    assert reply_text(f"{OWN}\n\n{footer}\n") == OWN
    assert reply_text(f"{OWN}\n\n{footer}\n\n{ATTRIBUTIONS[0]}\n{QUOTED}\n") == OWN


@pytest.mark.parametrize(
    "text",
    [
        OWN,
        "I have two questions:\n\n1. When?\n2. Where, at 10:30?",
        "Please write to ada@example.org:\nshe is in charge since 2024.",
        "The form says:\n\nName: Ada\nE-mail: ada@example.org\nDate: 2026-11-23 09:15\nWish: a lamp",
        "It happens on my iPhone.",
        "Have you sent it from the iPhone?",
        "a -- b",
        ">From now on all is well.",
        "Dimensions:\n=====\n\nHeight: 10\nWidth: 5\nDepth: 3",
        "Step 1\n----------\nOpen it.\n----------\nStep 2",
    ],
)
def test_what_a_person_wrote_stays(text: str) -> None:
    assert reply_text(text) == text


def test_answers_between_the_quotes() -> None:
    text = f"{ATTRIBUTIONS[0]}\n> Which colour?\n\nBlue.\n\n> How many?\nTwo.\n\n> Carl\n"
    assert reply_text(text) == "Blue.\n\nTwo."


@pytest.mark.parametrize("text", [f"{ATTRIBUTIONS[0]}\n{QUOTED}", QUOTED, f"{BLOCKS[0]}\n\nDear Ada,", "-- \nAda"])
def test_nothing_of_ones_own_leaves_the_whole_text(text: str) -> None:
    assert reply_text(text) == text


PIECES = st.sampled_from(
    ["On a ", "\n", "> ", ":", "x@y.z ", "10:15 ", "From: x\n", "-- \n", "-----", "A: b\n", "a", " ", "__"]
)


@given(st.lists(PIECES, max_size=60).map("".join))
def test_it_is_a_part_of_the_text(text: str) -> None:
    found = reply_text(text)
    lines = [line.rstrip() for line in text.splitlines()]
    assert found == text.strip() or all(line in ("", *lines) for line in found.split("\n"))


@pytest.mark.parametrize(
    "piece", ["On a ", "\n", "From: x\n", ">\n", ":\n", "a@b 10:00:\n", "-----\n", "<a@", "\nA: b\n", "-- \n"]
)
@pytest.mark.timeout(30)
def test_the_time_is_linear(piece: str) -> None:
    """Libraries for this take minutes for 10 kB of some of these."""
    assert len(reply_text(piece * (LONGEST // len(piece)))) <= LONGEST
