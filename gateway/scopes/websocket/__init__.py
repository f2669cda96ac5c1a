"""The websocket scope."""
