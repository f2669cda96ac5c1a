"""The sms scope."""
