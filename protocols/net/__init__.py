"""Sockets and what every connection passes before its server has it: accepting, limits, TLS, PROXY, wrong protocols."""
