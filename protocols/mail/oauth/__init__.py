"""Access tokens for mailboxes and submission servers (OAuth 2.0, RFC 6749; XOAUTH2)."""
