"""Base class of objects that cannot be pickled or copied, such as clients."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex


class ProcessBound:
    """An object that cannot be pickled or copied; pickling raises a `TypeError` that names the values to pass instead.

    A pickled client would have no sockets and no timers in the other process, and the pickle would contain its token.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied: its connections and timers belong to this process; "
            "pass the endpoint, the service name and a ClientConfig, and make a client from them there, with the token "
            "from the environment"
        )
