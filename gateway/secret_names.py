"""Names of secrets: of keys, header fields and parameters, in gateway.yaml and in what arrives; passwords in URLs."""

import re

WITHIN = (
    "authorization|bearer|cookie|passw|passcode|passphrase|pwd|secret|token|signature|credential|authentication_data|jwt"
    "|(?:api|access|auth|private|signing|subscription)[-_]?key|sess(?:ion)?[-_]?(?:id(?!le)|key)"
)
"""Parts of names, as a regular expression: ``new_password``, ``X-Api-Key``."""
WORDS = "auth|cvc|cvv|hmac|mfa|otp|pass|pin|sig|totp"
"""Words that are a name, or stand between hyphens in one. In longer words they mean nothing: ``author``, ``pinned``."""
CODES = "(?:(?:access|auth|confirmation|login|reset|security|verification)[-_]?)?code"
"""A code that lets somebody in, and not ``country_code``."""
_URL_PASSWORD = re.compile(r"""(//[^\s/@:]*:)(?!\d+/)[^\s"']+@""")
"""Also one with an `@` or a `/`, which should be escaped there; digits before a `/` are a port."""
_PARAMETER = re.compile(r"""([?&](?:ssl|sentinel_)?password=)[^&\s"']+""")


def hide_passwords(text: str) -> str:
    """Return ``text`` with stars in place of the passwords in its URLs."""
    return _PARAMETER.sub(r"\1***", _URL_PASSWORD.sub(r"\1***@", text))
