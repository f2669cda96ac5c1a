"""A cluster of hosts on one machine, under load, whose hosts, network and servers fail: ``python -m cluster --help``."""
