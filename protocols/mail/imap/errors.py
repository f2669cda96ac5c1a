"""The errors of reading a mailbox. A lost connection is ``protocols.errors.Disconnected``."""


class IMAPRefused(Exception):
    """The IMAP server refuses the login, the folder or a move. Trying again soon would not help. The message is one
    sentence for the operator."""


class LedgerUnavailable(Exception):
    """Another process reads the folder, or nobody can tell. The message is one sentence for the operator."""
