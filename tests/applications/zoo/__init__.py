"""Applications as people write them with frameworks of others, all in one process: the first part of a path says which.

They know nothing of the gateway, and run under uvicorn unchanged.
"""
