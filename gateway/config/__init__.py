"""Reads gateway.yaml: from its bytes to checked settings, with every mistake at its line and column."""
