"""Mail: SMTP and LMTP in, IMAP mailboxes in, mail out.

The modules, in the order in which a message meets them (all but the servers are pure):

* :mod:`~protocols.mail.addresses`: the addresses of an envelope (RFC 5321, Mailbox and Path).
* :mod:`~protocols.mail.smtp.data`: the content that follows the DATA command.
* :mod:`~protocols.mail.line_ends`: turns every bare CR and LF into CRLF.
* :mod:`~protocols.mail.headers`: raw RFC 5322 bytes to header fields.
* :mod:`~protocols.mail.recipients`: for whom a message is, and by what evidence.
* :mod:`~protocols.mail.scope`: the ``email`` scope of a message.
* :mod:`~protocols.mail.authentication`: who it is from: SPF, DKIM, DMARC, ARC (:mod:`~protocols.mail.dkim_library`).
* :mod:`~protocols.mail.charsets`: bytes to text, by the charset label of the mail.
* :mod:`~protocols.mail.encoded_words`: the encoded words of a field to text, and text to encoded words.
* :mod:`~protocols.mail.mime`: raw bytes to the tree of parts, and everything about one part.
* :mod:`~protocols.mail.message`: a mail as its handler reads it.
* :mod:`~protocols.mail.events`: which events an application may send, and when.
* :mod:`~protocols.mail.run`: one run of the application over a message, which ends in a verdict.
* :mod:`~protocols.mail.verdict`: accept, reject or defer.
* :mod:`~protocols.mail.smtp.transaction`, :mod:`~protocols.mail.smtp.replies`: SMTP's commands and replies.
* :mod:`~protocols.mail.smtp.session`: one SMTP or LMTP connection, on aiosmtpd.
* :mod:`~protocols.mail.smtp.server`: the SMTP and LMTP server.
* :mod:`~protocols.mail.imap.reader`: reads a mailbox instead of serving a port.
* :mod:`~protocols.mail.oauth`: access tokens for mailboxes and for the submission server.
* :mod:`~protocols.mail.compose`: writes an answer or another mail from plain values.
* :mod:`~protocols.mail.message_id`: gives a mail that has none a Message-ID that stays the same.
* :mod:`~protocols.mail.submission`: sends the mail of applications.
* :mod:`~protocols.mail.refusals`: what the refusal of a submission server means.
"""
