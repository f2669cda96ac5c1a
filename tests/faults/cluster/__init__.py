"""A cluster of hosts on one machine, under load, in which hosts, network and servers fail.

``python -m cluster --help`` says more.
"""
