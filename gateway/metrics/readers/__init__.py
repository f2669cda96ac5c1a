"""The readers, one noun a file; :mod:`gateway.metrics.table` lists them."""
