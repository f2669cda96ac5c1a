"""The gateway: routers, consumers and channel layers. Everything public is importable from here.

``gateway.routing`` says which application answers a scope, ``gateway.consumers`` are the classes that handle one,
``gateway.layers`` connects them across protocols; ``gateway.runtime.build`` makes it all from one file, and
``gateway.runtime.daemon`` runs it.
"""

from gateway.consumers import *
from gateway.consumers import __all__ as _consumers
from gateway.layers import *
from gateway.layers import __all__ as _layers
from gateway.routing import *
from gateway.routing import __all__ as _routing
from gateway.scopes.routers import *
from gateway.scopes.routers import __all__ as _routers

__all__ = [*_consumers, *_layers, *_routing, *_routers]
__version__ = "0.1.0"
