"""`ClientService`, which runs a client as a service of a Twisted application (`twisted.application`).

    application = Application("scoring")
    ClientService(client).setServiceParent(application)

The service starts the client's discovery when the application starts. When the application stops, it closes the
client, which lets calls in flight finish within its `drain_timeout_s`.
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
    """A service that opens and closes a `PredictClient` (`IService`).

    Several services can be added to a `MultiService`. A service can be started only once, because a closed client
    cannot be opened again.

    Args:
        client: A configured client whose `init` has not been called. The service closes it.
    """

    def __init__(self, client: PredictClient) -> None:
        self.client = client
        self.setName(f"eas_tw {client.service_name or 'client'}")  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return f"<ClientService {'running' if self.running else 'stopped'} {self.client!r}>"

    def startService(self) -> None:
        """Start discovery (`IService`).

        The application does not wait for the first list of instances. Calls before that list fail with `NoInstances`;
        use `when_ready` to wait.

        Raises:
            ConfigError: The client has no service or no endpoint, so the application does not start.
            ClientClosed: The service has been stopped before.
        """
        ready = self.client.init()
        if isinstance(getattr(ready, "result", None), Failure):  # `init` failed immediately: ConfigError, ClientClosed
            mistake: list[Failure] = []
            ready.addErrback(mistake.append)
            mistake[0].raiseException()
        ready.addErrback(self._say_why)
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Deferred[None]:
        """Close the client, which lets calls in flight finish within its `drain_timeout_s` (`IService`).

        Returns:
            A Deferred that fires one turn of the reactor after every socket has reported `connectionLost`. The turn is
            needed to send the data that the last callbacks wrote, such as the last response of a web server in the
            same application.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return self.client.close().addCallback(lambda _: deferLater(self.client.reactor, 0))

    def when_ready(self) -> Deferred[PredictClient]:
        """Wait for the first valid list of instances.

        Returns:
            A Deferred that fires with the client when there is a list, and fails with the errors of
            `PredictClient.init`.
        """
        return self.client.init()

    def _say_why(self, failure: Failure) -> None:
        # ClientClosed means that the service was stopped before the first list arrived, which is no error.
        if failure.check(ClientClosed) is None:
            failure.trap(EasError)
            _log.error("{service} has no instances yet: {why}", service=self.name, why=failure.getErrorMessage())
