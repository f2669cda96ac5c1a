"""Decodes the bytes of a mail by their charset label. Pure; never raises, whatever the bytes and the label.

* :mod:`~protocols.mail.charsets.labels`: a label to Python's name of the charset.
* :mod:`~protocols.mail.charsets.decoding`: bytes to text, by the label or by what else fits.
* :mod:`~protocols.mail.charsets.guess`: the charset of bytes that nothing declares.
* :mod:`~protocols.mail.charsets.japanese`: ISO-2022-JP as it is written.
* :mod:`~protocols.mail.charsets.text`: text that can be encoded again, and that fits on one line.
"""

from protocols.mail.charsets.decoding import decode_text
from protocols.mail.charsets.labels import codec_of
from protocols.mail.charsets.text import one_line, whole

__all__ = ["codec_of", "decode_text", "one_line", "whole"]
