"""The implementation of the transports for httpx2 and httpx, which have nearly the same interface.

`eas_tw.httpx2` and `eas_tw.httpx` add the base classes of the HTTP libraries. This package imports neither httpx2 nor
httpx.
"""

from eas_tw.http_transport.asynchronous import AsyncBody, BaseAsyncTransport
from eas_tw.http_transport.blocking import BaseTransport, Body
from eas_tw.http_transport.library import Library

__all__ = ["AsyncBody", "BaseAsyncTransport", "BaseTransport", "Body", "Library"]
