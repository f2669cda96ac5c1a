"""Who a mail is from, by SPF, DKIM, DMARC and ARC, or by what a mail server that is trusted has found."""
