"""Names of other frameworks, for projects that move here: :mod:`~gateway.compat.channels`."""
