"""What a running gateway measures, for Prometheus.

Everything is counted in place, as a plain int beside the code that does the work; nothing here is imported before
somebody asks. A *family* (:mod:`~gateway.metrics.family`) is a name with its kind, its help and its labels. A *reader*
(:mod:`~gateway.metrics.reader`) is a function of a running gateway that yields *samples* of its families. A *snapshot*
(:mod:`~gateway.metrics.snapshot`) is what all readers gave, as a plain value, which can be sent to another process and
added to others. :mod:`~gateway.metrics.exposition` writes it in Prometheus' formats, and
:mod:`~gateway.metrics.page` describes the families in ``docs/metrics.md``.

To add a family:

1. Count in place: an int that only grows, in an object that the gateway holds. ``self.accepted += 1`` costs 25 ns.
2. Write the family and its reader in a module of :mod:`gateway.metrics.readers`, one noun a file::

       ACCEPTED = counter("gateway_connections_accepted_total", "Connections that a listener has accepted.", "server")

       async def read(gateway: Gateway) -> AsyncIterator[Sample]:
           for server in gateway.servers:
               yield ACCEPTED.sample(server.listener.accepted, server.name)

       READER = Reader("listeners", (ACCEPTED,), read)

3. Add it to the list in :mod:`gateway.metrics.table`, and run ``make schema``.

The rules, of which a test knows most:

* Yield every series that is known from the start on, with 0: otherwise ``rate()`` does not see the first error.
* A label has values that the file or the code names: a server, a scope type, a route, a verdict. It never has a topic,
  an address, a path, a subject, the text of an exception or an id. If a family has more than 5,000 series, the rest are
  added up in one whose labels are all ``other``.
* A time is a gauge ``…_timestamp_seconds``, and the query subtracts it from ``time()``. A ratio is 0 to 1.
* A gauge says how those of several processes are joined: their ``sum``, or the ``max``.
* A reader may await the store. Where it works through many objects, it passes checkpoints: the loop always turns. It
  has five seconds; one that fails, or takes longer, is missing in this scrape, and
  ``gateway_metrics_reader_success`` tells.
* A reader reads what its gateway owns. While one gateway takes over from another both run, and both are read: an object
  that passes to the successor must belong to one of them only. What the process has one of is read by a reader ``of``
  the process, once.
"""
