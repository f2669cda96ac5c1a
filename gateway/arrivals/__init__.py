"""What arrived, and what became of it: a value for each request, message and connection, once it has its outcome.

``arrival`` is that value. ``service`` gives it to all who listen: the log, ``gateway tail``, a test. ``watch`` makes
it of what one run of an application receives and sends, and ``stored`` of attempts from the store. A scope type whose
runs are not like most has a watch of its own in its folder of ``gateway.scopes``. While nobody listens, no run is
watched.
"""

from gateway.arrivals.arrival import Arrival
from gateway.arrivals.service import Arrivals, arrivals
from gateway.arrivals.watch import Watch

__all__ = ["Arrival", "Arrivals", "Watch", "arrivals"]
