"""Static files: an ASGI application that answers with the files of a folder.

``paths`` turns a request's path into names, ``folder`` opens the file below the folder, ``coding`` chooses one of its
compressed siblings, ``conditions`` and ``ranges`` read the fields by which a client asks for less than the whole,
``answer`` makes the response of all that, and ``app`` sends it.
"""

from gateway.scopes.http.static_files.app import StaticFiles

__all__ = ["StaticFiles"]
