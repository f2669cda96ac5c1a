"""A running gateway: built from settings, started, drained, stopped; health and signals."""
