"""What the daemon writes to standard error."""
