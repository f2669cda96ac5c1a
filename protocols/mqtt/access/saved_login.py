"""That a password was right, in a form that outlives the process.

A thousand devices that come back after a restart of the gateway would each cost the tens of milliseconds of their
password's own hash. Such a record costs half a millisecond. It is an argon2id hash with a salt of its own, with cheaper
parameters (1 MiB, one pass) than the hash it stands for; a stolen one is a 40th of the work to guess. It covers that
hash too, and is void when the hash is another one.
"""

from protocols.secret import Secret

_MEMORY, _PASSES = 1024, 1


def save_login(hashed: Secret, password: bytes) -> str:
    """A record that ``password`` is the right one for ``hashed``. Half a millisecond of a CPU."""
    import secrets

    from argon2.low_level import Type, hash_secret

    salt = secrets.token_bytes(16)
    return hash_secret(_joined(hashed, password), salt, _PASSES, _MEMORY, 1, 32, Type.ID).decode()


def is_saved(record: str, hashed: Secret, password: bytes) -> bool:
    """Whether ``record`` says so."""
    from argon2.exceptions import Argon2Error
    from argon2.low_level import Type, verify_secret

    try:
        return verify_secret(record.encode(), _joined(hashed, password), Type.ID)
    except Argon2Error:
        return False


def _joined(hashed: Secret, password: bytes) -> bytes:
    return hashed.reveal().encode() + b"\0" + password
