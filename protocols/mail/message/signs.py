"""Words by which mail programs name bounces and automatic answers, in the languages that they speak.

A sign alone decides nothing: :mod:`~protocols.mail.message.kind` combines them.
"""

import re


def _any_of(words: str, before: str = "", after: str = "") -> re.Pattern[str]:
    """Return a pattern for any of the lines of ``words``, with the patterns ``before`` and ``after`` around it."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return re.compile(before + "(?:" + "|".join(map(re.escape, lines)) + ")" + after)


ANSWER = re.compile(
    r"\s{0,9}(?:re|aw|sv|vs|antw|odp|ynt|res?|ref|fwd?|wg|tr|rv|enc|vl|vb|i|回复|答复|回覆|転送|转发|轉寄)\s?(?:\[\d+\])?[:\uff1a]"
)
"""The beginning of the subject of an answer or a forwarded mail, which a person has sent."""

ROBOT = re.compile(
    r"mailer-?daemon|post_?master|mail-?daemon|mdaemon|microsoftexchange[0-9a-f]|bounces?\b.{0,64}@|mail delivery"
    r"|returned mail"
)
"""The sender of a bounce."""

BOUNCE_SUBJECT = _any_of(
    """
    undeliver
    undelivered
    non-deliver
    nondeliver
    not deliverable
    delivery status notification
    delivery notification
    delivery report
    delivery failure
    delivery failed
    delivery has failed
    delivery error
    delivery problem
    delivery delayed
    delayed mail
    message delayed
    delivery incomplete
    failed delivery
    failure notice
    mail failure
    mail failed
    mail system error
    message could not be delivered
    could not be delivered
    was not delivered
    not delivered
    mail returned
    returned mail
    returned to sender
    returning to sender
    returned message
    message not delivered
    user unknown
    address not found
    warning: message
    warning: could not send
    rejected mail
    unzustellbar
    nicht zugestellt
    nicht zustellbar
    konnte nicht zugestellt
    zustellung fehlgeschlagen
    fehler bei der zustellung
    zustellungsfehler
    unzustellbarkeit
    non remis
    échec de la remise
    échec de remise
    échec de distribution
    non distribu
    n'a pas pu être remis
    non-remise
    no se puede entregar
    no se pudo entregar
    no se ha podido entregar
    no entregado
    error de entrega
    estado de entrega
    correo devuelto
    mancata consegna
    mancato recapito
    non recapitabile
    impossibile recapitare
    consegna non riuscita
    não entregue
    falha na entrega
    falha de entrega
    não é possível entregar
    não foi possível entregar
    onbestelbaar
    niet bezorgd
    niet afgeleverd
    bezorging mislukt
    kan niet worden bezorgd
    olevererat
    kan inte levereras
    kunde inte levereras
    leveransfel
    kan ikke leveres
    kunne ikke leveres
    ikke leveret
    ei voitu toimittaa
    toimittaminen epäonnistui
    niedostarczon
    nie można dostarczyć
    zwrot poczty
    nedoručiteln
    nelze doručit
    nedoručen
    kézbesíthetetlen
    kézbesítés sikertelen
    nelivrat
    teslim edilemedi
    iletilemedi
    не доставлено
    недоставлен
    не удалось доставить
    ошибка доставки
    не може бути доставлен
    αδυναμία παράδοσης
    δεν παραδόθηκε
    לא נמסר
    תעת מסירה
    تعذر تسليم
    فشل تسليم
    تحویل داده نشد
    配信不能
    配信できません
    配信エラー
    届けられません
    配達できません
    退信
    退件
    无法送达
    未能送达
    无法投递
    投递失败
    無法傳遞
    無法投遞
    傳送失敗
    배달되지
    배달할 수 없
    반송
    전달할 수 없
    ไม่สามารถส่ง
    không gửi được
    tidak terkirim
    """,
)

_DIAGNOSIS = """
    user unknown
    unknown user
    no such user
    no such recipient
    mailbox unavailable
    mailbox not found
    mailbox is full
    mailbox full
    over quota
    quota exceeded
    recipient address rejected
    recipient rejected
    relaying denied
    relay access denied
    host unknown
    host not found
    unrouteable address
    permanent fatal error
    retry timeout exceeded
    created automatically by mail delivery software
    this is the mail system at host
    this is the qmail-send program
    transcript of session follows
    transcript of the session follows
    said: 55
    status: 5.
    smtp; 5
    status code: 5
    """

BOUNCE_DIAGNOSIS = _any_of(_DIAGNOSIS)
"""What mail servers say, and customers whose parcel has not come do not."""

BOUNCE_BODY = _any_of(
    _DIAGNOSIS
    + """
    no such address
    address rejected
    invalid recipient
    permanent error
    permanent failure
    could not be delivered
    couldn't be delivered
    cannot be delivered
    could not deliver
    couldn't deliver
    was not delivered
    wasn't delivered
    wasn't able to deliver
    unable to deliver
    has been undeliverable
    delivery to the following recipient
    delivery has failed
    delivery failed
    the following address
    did not reach the following recipient
    following recipients cannot be reached
    konnte nicht zugestellt
    n'a pas pu être remis
    no se pudo entregar
    impossibile recapitare
    não pôde ser entregue
    kan niet worden bezorgd
    не удалось доставить
    не может быть доставлено
    無法傳遞
    无法送达
    配信できません
    """,
)

AUTO_REPLY_SUBJECT = _any_of(
    """
    automatic reply
    automated reply
    automatic response
    automated response
    auto reply
    auto-reply
    autoreply
    auto response
    auto-response
    autoresponse
    out of office
    out of the office
    out-of-office
    vacation reply
    vacation response
    automatische antwort
    automatisch antwoord
    automatische rückantwort
    abwesenheitsnotiz
    abwesenheitsnachricht
    abwesenheitsbenachrichtigung
    abwesend:
    réponse automatique
    absence du bureau
    message d'absence
    absent du bureau
    respuesta automática
    fuera de la oficina
    fuera de oficina
    risposta automatica
    fuori sede:
    fuori ufficio
    resposta automática
    fora do escritório
    afwezigheidsbericht
    afwezig:
    autosvar
    automatiskt svar
    automatisk svar
    frånvaro:
    frånvaromeddelande
    fraværsmelding
    ikke på kontoret
    automaattinen vastaus
    poissaoloviesti
    poissaoloilmoitus
    automatyczna odpowiedź
    autoodpowiedź
    nieobecność w biurze
    automatická odpověď
    automatická odpoveď
    mimo kancelář
    automatikus válasz
    răspuns automat
    автоматичен отговор
    otomatik yan
    otomatik cevap
    автоматический ответ
    автоответ
    автоматична відповідь
    автовідповідь
    αυτόματη απάντηση
    תשובה אוטומטית
    מענה אוטומטי
    رد تلقائي
    الرد التلقائي
    پاسخ خودکار
    स्वचालित उत्तर
    自動応答
    自動返信
    不在通知
    自动回复
    自动答复
    自動回覆
    自動回復
    자동 회신
    자동 응답
    부재중
    ตอบกลับอัตโนมัติ
    trả lời tự động
    balasan otomatis
    """,
    before=r"\W{0,9}",
    after=r"\w{0,12}(?:(?<=:)|\s{0,9}(?:\Z|[^\w\s'\"]|(?:re|aw|fwd?|auto\w{0,20}|until|from|till|bis|vom|ab|jusqu)\b))",
)
"""At the beginning of the subject, and all of it or divided from what was answered: elsewhere people write about it."""
