"""Names of secrets: of keys, header fields and parameters, in gateway.yaml and in what arrives."""

WITHIN = (
    "authorization|bearer|cookie|passw|passcode|passphrase|pwd|secret|token|signature|credential|authentication_data|jwt"
    "|(?:api|access|auth|private|signing|subscription)[-_]?key|sess(?:ion)?[-_]?(?:id(?!le)|key)"
)
"""Parts of names, as a regular expression: ``new_password``, ``X-Api-Key``."""
WORDS = "auth|cvc|cvv|hmac|mfa|otp|pass|pin|sig|totp"
"""Words that are a name, or stand between hyphens in one. In longer words they mean nothing: ``author``, ``pinned``."""
CODES = "(?:(?:access|auth|confirmation|login|reset|security|verification)[-_]?)?code"
"""A code that lets somebody in, and not ``country_code``."""
