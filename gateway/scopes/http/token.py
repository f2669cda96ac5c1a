"""Names in HTTP."""

import re

TOKEN = re.compile(r"[!#-'*+\-.^_`|~0-9A-Za-z]+")
"""A name of a header field or of a method (RFC 9110, 5.6.2)."""
