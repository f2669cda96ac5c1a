"""Each scheme of signatures: with the vector that its provider publishes, and what the provider's library signs."""

import base64
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any

import pytest
import standardwebhooks
import stripe
from hypothesis import given
from hypothesis import strategies as st

from gateway.scopes.http.webhooks.github import GitHub
from gateway.scopes.http.webhooks.hmac_header import HMACHeader
from gateway.scopes.http.webhooks.scheme import Scheme, SignedRequest
from gateway.scopes.http.webhooks.standard import StandardWebhooks
from gateway.scopes.http.webhooks.stripe import Stripe
from protocols.errors import RemoteProtocolError
from protocols.secret import Secret

WHSEC = "whsec_" + base64.b64encode(b"a secret of 24 bytes ...").decode()
OLD = "whsec_" + base64.b64encode(b"the secret of last year ").decode()
STRIPE = "whsec_of_stripe"
BODY = b'{"id": "evt_1", "object": "event", "type": "invoice.paid", "note": "na\xc3\xafve"}'
NOW = int(time.time())
NO_MATCH = "its signature does not match: another secret, or another body than was signed"


class AtNow(datetime):
    """The clock of the library of Standard Webhooks, which takes no time that is given."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "AtNow":
        return cls.fromtimestamp(NOW, tz)


@pytest.fixture(scope="module", autouse=True)
def library_clock() -> Iterator[None]:
    """``NOW`` is when the tests were collected, which may be long ago."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("standardwebhooks.webhooks.datetime", AtNow)
        yield


def refusal(scheme: Scheme, headers: dict[str, str], body: bytes = BODY, now: float = NOW) -> str:
    """What ``scheme`` says of a request that it refuses; empty if it takes it."""
    try:
        scheme.verify(SignedRequest(headers, body, now))
    except RemoteProtocolError as error:
        return str(error) if error.answer == 403 else f"{error.answer!r} {error}"
    return ""


def standard(body: bytes = BODY, secret: str = WHSEC, at: int = NOW) -> dict[str, str]:
    when = datetime.fromtimestamp(at, UTC)
    signature = standardwebhooks.Webhook(secret).sign("msg_1", when, body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}


def of_stripe(body: bytes = BODY, secret: str = STRIPE, at: int = NOW) -> dict[str, str]:
    made: Any = stripe.WebhookSignature
    return {"stripe-signature": made.generate_signature_header(body.decode(), secret, at)}


def test_the_example_of_githubs_documentation_is_good() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    scheme = GitHub(secret=Secret("It's a Secret to Everybody"))
    assert refusal(scheme, {"x-hub-signature-256": signature}, b"Hello, World!") == ""
    assert refusal(scheme, {"x-hub-signature-256": signature}, b"Hello, World?") == NO_MATCH


@pytest.mark.parametrize("prefix", ["svix", "webhook"])
def test_the_example_of_svixs_documentation_is_good_at_its_time(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = 1731705121

    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Then":
            return cls.fromtimestamp(at, tz)

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Then)
    headers = {
        f"{prefix}-id": "msg_loFOjxBNrRLzqYUf",
        f"{prefix}-timestamp": str(at),
        f"{prefix}-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    }
    request = SignedRequest(headers, b'{"event_type":"ping","data":{"success":true}}', at)
    scheme = StandardWebhooks(secret=Secret("whsec_plJ3nmyCDGBKInavdOK15jsl"))
    assert scheme.verify(request) == "msg_loFOjxBNrRLzqYUf"


def test_what_the_library_of_standard_webhooks_signs_is_good_and_its_id_is_signed() -> None:
    scheme = StandardWebhooks(secret=Secret(WHSEC))
    assert scheme.verify(SignedRequest(standard(), BODY, NOW)) == "msg_1"
    assert refusal(scheme, standard(secret=OLD)) == NO_MATCH
    assert refusal(scheme, standard() | {"webhook-id": "msg_2"}) == NO_MATCH
    assert refusal(scheme, standard(), BODY + b" ") == NO_MATCH
    assert refusal(scheme, standard(), b"\xff") == NO_MATCH
    assert refusal(scheme, standard() | {"webhook-signature": "v1"}) == NO_MATCH
    assert refusal(scheme, {"webhook-id": "msg_1"}) == "it has no webhook-timestamp header"


def test_what_the_library_of_stripe_signs_is_good_and_its_events_id_is_signed() -> None:
    scheme = Stripe(secret=Secret(STRIPE))
    assert scheme.verify(SignedRequest(of_stripe(), BODY, NOW)) == "evt_1"
    assert refusal(scheme, of_stripe(secret="whsec_of_another")) == NO_MATCH
    assert refusal(scheme, of_stripe(), BODY + b" ") == NO_MATCH
    assert refusal(scheme, {}) == "it has no Stripe-Signature header"
    assert refusal(scheme, of_stripe(b"[]"), b"[]") == "its body is no event of Stripe's: it has no id"


@pytest.mark.parametrize("pending", [2, 1])
def test_a_repetition_by_stripe_has_the_same_id_although_its_body_counts_down(pending: int) -> None:
    body = json.dumps({"id": "evt_7", "pending_webhooks": pending}).encode()
    assert Stripe(secret=Secret("s")).verify(SignedRequest(of_stripe(body, "s"), body, NOW)) == "evt_7"


def test_stripe_may_sign_with_the_old_and_the_new_secret_at_once() -> None:
    both = of_stripe(secret="old")["stripe-signature"] + "," + of_stripe(secret="new")["stripe-signature"].split(",")[1]
    for secret in ("old", "new"):
        assert refusal(Stripe(secret=Secret(secret)), {"stripe-signature": both}) == ""


def test_while_secrets_rotate_a_signature_by_any_of_them_is_good() -> None:
    both = (Secret(WHSEC), Secret(OLD))
    for secret in (WHSEC, OLD):
        assert refusal(StandardWebhooks(secret=both), standard(secret=secret)) == ""
        assert refusal(Stripe(secret=both), of_stripe(secret=secret)) == ""
        signature = "sha256=" + hmac.new(secret.encode(), BODY, "sha256").hexdigest()
        assert refusal(GitHub(secret=both), {"x-hub-signature-256": signature}) == ""


@pytest.mark.parametrize(("skew", "where"), [(301, "behind"), (-301, "ahead of")])
def test_a_signed_time_that_is_too_far_from_ours_is_refused_with_the_difference(skew: int, where: str) -> None:
    said = f"its timestamp is 301 s {where} this machine's clock, and 300 s are allowed: a replay, or one of the clocks"
    assert refusal(StandardWebhooks(secret=Secret(WHSEC)), standard(), now=NOW + skew).startswith(said)
    assert refusal(Stripe(secret=Secret(STRIPE)), of_stripe(), now=NOW + skew).startswith(said)


@pytest.mark.parametrize("written", ["", "nan", "1e9", "-1", "1" * 20, "\u0661", "1.5"])
def test_a_time_that_is_no_number_of_seconds_is_refused(written: str) -> None:
    headers = standard() | {"webhook-timestamp": written}
    said = "its timestamp is not in Unix seconds" if written else "it has no webhook-timestamp header"
    assert refusal(StandardWebhooks(secret=Secret(WHSEC)), headers) == said


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_plain_hmac_is_checked_in_each_form(algorithm: Any, encoding: Any) -> None:
    made = hmac.new(b"key", BODY, algorithm).digest()
    written = made.hex() if encoding == "hex" else base64.b64encode(made).decode()
    scheme = HMACHeader(header="X-Sign", secret=Secret("key"), algorithm=algorithm, encoding=encoding, prefix="v=")
    assert refusal(scheme, {"x-sign": f"v={written}"}) == ""
    assert refusal(scheme, {"x-sign": f"v={written}"}, b"") == NO_MATCH
    assert refusal(scheme, {"x-sign": "v="}) == NO_MATCH
    assert refusal(scheme, {}) == "it has no X-Sign header"


SCHEMES: list[Scheme] = [
    StandardWebhooks(secret=Secret(WHSEC)),
    GitHub(secret=Secret("s")),
    Stripe(secret=Secret("s")),
    HMACHeader(header="x", secret=Secret("s"), encoding="base64"),
]
NAMES = ["webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "stripe-signature", "x"]


@given(
    headers=st.dictionaries(
        st.sampled_from(NAMES), st.text(st.characters(max_codepoint=255)) | st.just(str(NOW)) | st.just(f"t={NOW},v1=0")
    ),
    body=st.binary(max_size=40),
)
def test_whatever_comes_is_refused_in_a_sentence(headers: dict[str, str], body: bytes) -> None:
    for scheme in SCHEMES:
        assert refusal(scheme, headers, body) != ""


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_no base64!", "whpk_abcd", "a"])
def test_a_secret_that_is_none_of_standard_webhooks_is_a_mistake(secret: str) -> None:
    with pytest.raises(ValueError, match="secret is"):
        StandardWebhooks(secret=Secret(secret))
