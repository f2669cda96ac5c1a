"""An authorization server as Google's and Microsoft's: it issues tokens for proofs that it verifies with other people's
code, and tells a mail server which tokens are valid (RFC 7662)."""

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from servers.web import listening

Form = dict[str, str]
USER = "support@example.org"


class Refused(Exception):
    """An error of RFC 6749, 5.2."""


@dataclass
class TokenEndpoint:
    """``url`` has no slash at its end."""

    url: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    """Public keys by issuer: the address of a service account, or the id of an application."""
    client_secrets: dict[str, str] = field(default_factory=dict)
    life: object = 3600
    """Seconds that a new token is said to live, as the answer has it."""
    answers: list[tuple[int, str]] = field(default_factory=list)
    """What is answered instead, as long as there is something."""
    forms: list[Form] = field(default_factory=list)
    valid: dict[str, str] = field(default_factory=dict)
    """Tokens that are valid, with their user."""
    refresh_tokens: set[str] = field(default_factory=set)
    rotates: bool = False
    """Whether each use of a refresh token gives another, as Microsoft's."""
    approved: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether the person has typed the code of the device flow."""
    device_answer: str = ""
    """What the device flow begins with instead."""
    challenges: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Code of the authorization -> PKCE challenge and redirect."""

    def revoke(self) -> None:
        """Let every access token expire."""
        self.valid.clear()

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if self.answers:
            status, text = self.answers.pop(0)
            return web.Response(status=status, text=text, content_type="application/json")
        try:
            return web.json_response(self._granted(form, str(request.url)))
        except Refused as refused:
            return web.json_response({"error": str(refused), "error_description": "It is so.\nTrace: 1"}, status=400)

    def _granted(self, form: Form, url: str) -> dict[str, Any]:
        grants = {
            "urn:ietf:params:oauth:grant-type:jwt-bearer": self._service_account,
            "client_credentials": self._application,
            "refresh_token": self._person_again,
            "urn:ietf:params:oauth:grant-type:device_code": self._device,
            "authorization_code": self._code,
        }
        more = grants[form["grant_type"]](form, url)
        token = secrets.token_urlsafe(900)  # Microsoft's are as long
        self.valid[token] = more.pop("user", USER)
        return {"access_token": token, "token_type": "Bearer", "expires_in": self.life, **more}

    def _claims(self, assertion: str, url: str) -> dict[str, Any]:
        issuer = jwt.decode(assertion, options={"verify_signature": False})["iss"]
        try:
            return dict(jwt.decode(assertion, self.keys[issuer], algorithms=["RS256"], audience=url))
        except (jwt.InvalidTokenError, KeyError) as error:
            raise Refused("invalid_grant") from error

    def _service_account(self, form: Form, url: str) -> dict[str, Any]:
        claims = self._claims(form["assertion"], url)
        if claims["scope"] != "https://mail.google.com/" or claims["exp"] - claims["iat"] > 3600:
            raise Refused("invalid_scope")
        return {"user": claims["sub"]}

    def _application(self, form: Form, url: str) -> dict[str, Any]:
        if form["scope"] != "https://outlook.office365.com/.default":
            raise Refused("invalid_scope")
        if "client_assertion" in form:
            claims = self._claims(form["client_assertion"], url)
            header = jwt.get_unverified_header(form["client_assertion"])
            if not claims["iss"] == claims["sub"] == form["client_id"] or not header.get("x5t#S256"):
                raise Refused("invalid_client")
        elif self.client_secrets.get(form["client_id"]) != form["client_secret"]:
            raise Refused("invalid_client")
        return {}

    def new_login(self) -> str:
        self.refresh_tokens.add(new := secrets.token_urlsafe(600))
        return new

    def _person_again(self, form: Form, url: str) -> dict[str, Any]:
        if form["refresh_token"] not in self.refresh_tokens:
            raise Refused("invalid_grant")
        return {"refresh_token": self.new_login()} if self.rotates else {}

    def _device(self, form: Form, url: str) -> dict[str, Any]:
        if form["device_code"] != "a-device":
            raise Refused("bad_verification_code")
        if not self.approved.is_set():
            raise Refused("authorization_pending")
        return {"refresh_token": self.new_login()}

    def _code(self, form: Form, url: str) -> dict[str, Any]:
        challenge, redirect = self.challenges.pop(form["code"], ("", ""))
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge or form["redirect_uri"] != redirect:
            raise Refused("invalid_grant")
        return {"refresh_token": self.new_login()}

    async def device(self, request: web.Request) -> web.Response:
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        if self.device_answer:
            return web.Response(text=self.device_answer, content_type="application/json")
        return web.json_response(
            {
                "device_code": "a-device",
                "user_code": "ABCD-1234",
                "verification_uri": f"{self.url}/device",
                "expires_in": 900,
                "interval": 0.05,
            }
        )

    async def authorize(self, request: web.Request) -> web.Response:
        """A person who agrees at once."""
        asked = request.query
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["access_type"] == "offline"
        self.challenges[code := secrets.token_urlsafe(8)] = asked["code_challenge"], asked["redirect_uri"]
        raise web.HTTPFound(f"{asked['redirect_uri']}?code={code}&state={asked['state']}&scope={asked['scope']}")

    async def introspect(self, request: web.Request) -> web.Response:
        token = str((await request.post())["token"])
        user = self.valid.get(token)
        return web.json_response({"active": user is not None, "username": user or ""})

    # The files and certificates that people get from a provider's console.

    def service_account(self, folder: Path) -> Path:
        key, issuer = new_key(), f"robot-{secrets.token_hex(4)}@project.iam.gserviceaccount.com"
        self.keys[issuer] = key.public_key()
        path = folder / "service-account.json"
        content = {"type": "service_account", "client_email": issuer, "private_key": pem(key), "private_key_id": "k1"}
        path.write_text(json.dumps({**content, "token_uri": f"{self.url}/token"}))
        return path

    def desktop_client(self, folder: Path) -> Path:
        path = folder / "client.json"
        urls = {"auth_uri": f"{self.url}/authorize", "token_uri": f"{self.url}/token"}
        path.write_text(json.dumps({"installed": {"client_id": "desk", "client_secret": "none", **urls}}))
        return path

    def certificate(self, folder: Path, client_id: str) -> Path:
        key = new_key()
        self.keys[client_id] = key.public_key()
        path = folder / "application.pem"
        path.write_text(certificate(key) + pem(key))
        return path


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


def certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    now = datetime.now(UTC)
    begins, ends = now - timedelta(hours=1), now + timedelta(days=2)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begins, ends)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    return made.decode()


@contextlib.asynccontextmanager
async def token_endpoint() -> AsyncIterator[TokenEndpoint]:
    served = TokenEndpoint()
    app = web.Application()
    app.router.add_post("/token", served.token)
    app.router.add_post("/{tenant}/oauth2/v2.0/token", served.token)
    app.router.add_post("/{tenant}/oauth2/v2.0/devicecode", served.device)
    app.router.add_get("/authorize", served.authorize)
    app.router.add_post("/introspect", served.introspect)
    async with listening(app) as served.url:
        yield served
