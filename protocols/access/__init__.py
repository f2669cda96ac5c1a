"""Users and their passwords, for every server that knows users.

``logins`` checks them; ``users``: hashes, and the file that holds them; ``login_queue``: whose password is checked
next; ``login_places``: how many wait; ``login_cache``, ``saved_login``: right passwords that are remembered;
``login_failures``: wrong ones.
"""
