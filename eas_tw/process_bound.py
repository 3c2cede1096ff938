"""Objects that cannot leave their process: clients, and what runs them."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex


class ProcessBound:
    """Refuses to be pickled, copied and deep-copied, with one line that says what to send instead.

    A client that was pickled would arrive with neither sockets nor timers, and would have carried its token along.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied: its connections and timers belong to this process; "
            "pass the endpoint, the service name and a ClientConfig, and make a client from them there, with the token "
            "from the environment"
        )
