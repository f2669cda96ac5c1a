"""How messages get through: policy, retries, inbox, dead letters, on top of the store."""
