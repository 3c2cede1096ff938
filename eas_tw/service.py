"""Clients as services of a Twisted application (`twisted.application`), and as an agent for `treq`.

    application = Application("scoring")
    ClientService(client).setServiceParent(application)

The service starts the client's discovery when the application starts, and lets the calls in flight finish when it
stops. Owns no policy of its own: how long it drains is the client's `drain_timeout_s`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from eas_tw import ClientClosed, EasError
from eas_tw.agent import EasAgent
from eas_tw.process_bound import ProcessBound

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from eas_tw import PredictClient

__all__ = ["ClientService", "EasAgent"]

_log = Logger(namespace="eas_tw.service")


class ClientService(ProcessBound, Service):
    """A `PredictClient` that lives as long as its service runs (`IService`).

    Several of them go into a `MultiService` like any other service. A client is closed for good, so a service runs
    once.

    Args:
        client: Configured, not yet initialised; from now on the service's to close.
    """

    def __init__(self, client: PredictClient) -> None:
        self.client = client
        self.setName(f"eas_tw {client.service_name or 'client'}")  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return f"<ClientService {'running' if self.running else 'stopped'} {self.client!r}>"

    def startService(self) -> None:
        """Start discovery (`IService`).

        The application does not wait for the first list of instances: calls made before it is there fail as
        `NoInstances`, unless the program waits for `when_ready`.

        Raises:
            ConfigError: The client lacks a service or an endpoint. An application that cannot work does not start.
            ClientClosed: The service ran before.
        """
        ready = self.client.init()
        if isinstance(getattr(ready, "result", None), Failure):  # a mistake, not a delay
            mistake: list[Failure] = []
            ready.addErrback(mistake.append)
            mistake[0].raiseException()
        ready.addErrback(self._say_why)
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Deferred[None]:
        """Take no more calls, let those in flight finish within the client's `drain_timeout_s` (`IService`).

        Returns:
            Fires when every socket has reported its loss, and what the last callbacks wrote has had a turn of the
            reactor to go out: a web server in the same application answers its last request with it.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return self.client.close().addCallback(lambda _: deferLater(self.client.reactor, 0))

    def when_ready(self) -> Deferred[PredictClient]:
        """Wait for the first good list of instances.

        Returns:
            Fires with the client, at once when the list is there; fails as `PredictClient.init` does.
        """
        return self.client.init()

    def _say_why(self, failure: Failure) -> None:
        # Stopped before the first list came: nothing to say.
        if failure.check(ClientClosed) is None:
            failure.trap(EasError)
            _log.error("{service} has no instances yet: {why}", service=self.name, why=failure.getErrorMessage())
