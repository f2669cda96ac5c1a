"""One client's connection, from its socket and its CONNECT to its end."""
