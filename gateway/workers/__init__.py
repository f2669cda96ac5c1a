"""Several processes that serve one gateway: ``workers: N``.

A *parent* binds the addresses, starts the *workers*, watches them and replaces them. It imports nothing of the
application. Each worker has a *slot*; it and its successor have the same sockets, on which connections wait between the
two. Parent and worker talk by a *link*. What can live only once, a *role*, is in the worker that has its lease.
"""
