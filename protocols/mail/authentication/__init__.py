"""Verifies the sender of a mail, by SPF, DKIM, DMARC and ARC, or by the results of a mail server that is trusted."""
