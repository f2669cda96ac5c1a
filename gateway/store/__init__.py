"""The one durable store: inbox, claims, dead letters, what handlers send."""
