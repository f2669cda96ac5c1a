"""Mail: SMTP and LMTP in, IMAP mailboxes in, mail out.

The primitives, in the order in which a message meets them:

* :mod:`~protocols.mail.path`: the addresses of an envelope (RFC 5321 Mailbox and Path), pure.
* :mod:`~protocols.mail.smtp.data`: what follows the DATA command, pure.
* :mod:`~protocols.mail.line_ends`: CRLF for every bare CR and LF, pure.
* :mod:`~protocols.mail.envelope`: raw RFC 5322 bytes to header fields, and the ``email`` scope, pure.
* :mod:`~protocols.mail.charsets`, :mod:`~protocols.mail.encoded_words`: bytes to text by the label that
  a mail gives them; a field's encoded words to text and back, pure.
* :mod:`~protocols.mail.events`: what an application may send, and when, pure.
* :mod:`~protocols.mail.delivery`: one message through the application, to its verdict.
* :mod:`~protocols.mail.verdict`: accept, reject or defer.
* :mod:`~protocols.mail.smtp.transaction`, :mod:`~protocols.mail.smtp.replies`: SMTP's commands and answers, pure.
* :mod:`~protocols.mail.smtp.session`: one SMTP or LMTP connection, on aiosmtpd.
* :mod:`~protocols.mail.smtp.server`: the server: its settings, sockets, limits and its end.
* :mod:`~protocols.mail.imap.reader`: a mailbox that is read instead of a port that is served.
* :mod:`~protocols.mail.submission`: mail that applications send.
"""
