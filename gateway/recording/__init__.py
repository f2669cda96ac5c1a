"""What arrived, whole, in a file that a person can read. ``gateway record`` writes it, ``gateway replay`` runs it.

``readable`` turns scopes and events into JSON and back, ``secrets`` leaves out what nobody else may see, ``entry`` is
one line of the file, ``file`` is all of it.
"""
