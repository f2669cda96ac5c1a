"""The scope types, a folder each: ``kind`` says all that the gateway has to know about one, ``router`` routes it.

``installed`` lists them, with those of other distributions; ``routers`` has the routers of ours.
"""
