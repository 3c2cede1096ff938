"""The implementation of the transports for httpx2 and httpx, whose interfaces are alike.

`eas_tw.httpx2` and `eas_tw.httpx` add the library's base classes. This package imports neither library.
"""

from eas_tw.http_transport.asynchronous import AsyncBody, BaseAsyncTransport
from eas_tw.http_transport.blocking import BaseTransport, Body
from eas_tw.http_transport.library import Library

__all__ = ["AsyncBody", "BaseAsyncTransport", "BaseTransport", "Body", "Library"]
