"""What a broker is: subscriptions, retained messages, sessions, and what of it outlives the process."""
