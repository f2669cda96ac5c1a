"""The http scope."""
