"""The console: everything that an operator can ask of a gateway that runs, or have it do.

``operation`` says what a row of that table is, ``operations`` has the rows, a file for each noun, and ``table`` lists
them. ``parameters`` reads what a client sends. The control socket serves the table by ``socket``: a row's name is its
``do``. An operation works on ``here``, the gateway that runs.

A new operation is one function with the decorator ``operation``, in a file that ``table`` names.
"""
