"""Sockets, and the steps of every connection before its server: accepting, limits, the PROXY header, TLS."""
