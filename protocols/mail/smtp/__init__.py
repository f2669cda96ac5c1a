"""Mail in, over SMTP and LMTP."""
