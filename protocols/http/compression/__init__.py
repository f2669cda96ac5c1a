"""Responses in a content coding: gzip, Brotli, Zstandard."""
