"""Starts a new process for each version of the code. For ``gateway run --reload``:

``supervisor``   the parent: it watches files and starts versions; it imports nothing of the application
``version``      one version, as the supervisor sees it
``standby``      the same process from inside: it waits, ready to import the application, until a file has changed
``daemon``       the daemon of a version, which takes over from the one before and gives way to the next
``predecessor``  the version before, as its successor sees it
``channel``      what they tell each other; ``errors``: what goes wrong there
``watching``     which files count

For ``gateway reload --code``, without a supervisor:

``successor``         the next process, as the daemon sees it that starts it
``hand_over``         the same process from inside
``successor_daemon``  its daemon, which takes over from the process that has started it
``parent``            what a process becomes that gave way, if its supervisor waits for it
"""
