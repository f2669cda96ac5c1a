"""What the store keeps, as an operator works on it: for the commands and for the console's operations.

``selection`` chooses by id or by filter, and changes in batches; ``pages`` gives a page of a list, and counts;
``content`` and ``history`` show one message.
"""
