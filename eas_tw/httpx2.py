"""Transports for httpx2 (extra `httpx2`), which send the requests of its clients to a PAI-EAS service.

    transport = AsyncTransport(endpoint, service, token=token, endpoint_type=ENDPOINT_TYPE_DIRECT)
    http = httpx2.AsyncClient(transport=transport)
    response = await http.get("http://eas/v1/models")

The transport does discovery, balancing, failover and authentication; the URL's host is ignored.
"""

from __future__ import annotations

from typing import ClassVar

try:
    import httpx2
except ImportError as error:
    raise ImportError("eas_tw.httpx2 needs httpx2: pip install 'eas-tw[httpx2]'") from error

from eas_tw.http_transport import AsyncBody, BaseAsyncTransport, BaseTransport, Body, Library

__all__ = ["AsyncTransport", "Transport"]


class _AsyncBody(AsyncBody, httpx2.AsyncByteStream):
    """The body of an asynchronous response."""


class _Body(Body, httpx2.SyncByteStream):
    """The body of a blocking response."""


_LIBRARY = Library(httpx2, _AsyncBody, _Body)


class AsyncTransport(BaseAsyncTransport, httpx2.AsyncBaseTransport):  # noqa: D101  the base class has it
    __doc__ = BaseAsyncTransport.__doc__

    _library: ClassVar[Library] = _LIBRARY


class Transport(BaseTransport, httpx2.BaseTransport):  # noqa: D101  the base class has it
    __doc__ = BaseTransport.__doc__

    _library: ClassVar[Library] = _LIBRARY
