"""Builds a gateway from its settings, starts, replaces and stops it; health and signals of its process."""
