"""The gateway's tables in a project's database. Each migration runs the engine's own statements."""
