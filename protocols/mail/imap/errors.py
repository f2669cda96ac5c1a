"""What may go wrong with a mailbox, besides the connection being lost (``protocols.errors.Disconnected``)."""


class IMAPRefused(Exception):
    """The IMAP server is there and says no: to the login, the folder, a move. The message is one sentence for the
    operator; trying again soon would change nothing."""
