"""The error of a mailbox whose server refuses. A lost connection is ``protocols.errors.Disconnected``."""


class IMAPRefused(Exception):
    """The IMAP server refuses the login, the folder or a move. Trying again soon would not help. The message is one
    sentence for the operator."""
