"""Mail in, from IMAP mailboxes."""
