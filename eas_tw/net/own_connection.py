"""Connections outside the pools, for protocols that do not share a connection, such as WebSocket.

Like all connections of a client, they are opened by the client's dialer, or by the client's endpoints if it uses a
gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import UserError
from twisted.internet.protocol import ClientFactory, Factory

from eas_tw.net.connect_errors import connect_outcome
from eas_tw.telemetry.contained import pass_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IConnector, IStreamClientEndpoint
    from twisted.internet.protocol import Protocol
    from twisted.python.failure import Failure

    from eas_tw.net.dialer import Dialer
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.instances import Instance
    from eas_tw.policy.outcomes import Outcome

    OnFailed = Callable[[Outcome], None]


class OwnDial(ClientFactory):
    """Opens a connection to an instance for one protocol.

    Args:
        reactor: The reactor, which opens the connection.
        dialer: The object that limits how many connections are opened in one turn.
        instance: The instance.
        protocol: The protocol of the connection.
        timeout_s: Maximum time for opening the connection, in seconds.
        on_failed: A function that is called with the outcome if the connection cannot be opened, unless `cancel` was
            called.
    """

    noisy = False

    def __init__(
        self,
        reactor: Reactor,
        dialer: Dialer,
        instance: Instance,
        protocol: Protocol,
        *,
        timeout_s: float,
        on_failed: OnFailed,
    ) -> None:
        self._reactor = reactor
        self._dialer = dialer
        self._instance = instance
        self._own_protocol = protocol
        self._timeout_s = timeout_s
        self._on_failed: OnFailed | None = on_failed
        self._connector: IConnector | None = None
        dialer.submit(self)

    def cancel(self) -> None:
        """Stop opening the connection; once the connection is open, do nothing."""
        self._on_failed = None
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.stopConnecting()
        else:
            self._dialer.withdraw(self)

    def connect(self) -> None:
        """Start to connect; called by the dialer (`Dial`)."""
        try:
            self._reactor.connectTCP(self._instance.ip, self._instance.port, self, timeout=self._timeout_s)
        except BaseException as error:  # noqa: BLE001  Twisted raises for some addresses, such as fe80::1%nosuch
            later = self._reactor.callLater
            later(0, self._fail, error)
            pass_on(later, error)

    def startedConnecting(self, connector: IConnector) -> None:
        """Store the connector for `cancel` (`ClientFactory`)."""
        self._connector = connector

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002
        """Return the protocol of the open connection (`ClientFactory`)."""
        self._connector = self._on_failed = None
        return self._own_protocol

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:  # noqa: ARG002
        """Report that the connection could not be opened (`ClientFactory`)."""
        self._connector = None
        self._fail(reason.value)

    def _fail(self, error: BaseException | None) -> None:
        on_failed, self._on_failed = self._on_failed, None
        if on_failed is not None:
            on_failed(connect_outcome(error))


class _OneProtocol(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._own_protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002
        return self._own_protocol


def connect_endpoint(endpoint: IStreamClientEndpoint, protocol: Protocol, on_failed: OnFailed) -> Callable[[], None]:
    """Open a connection by an endpoint.

    Args:
        endpoint: The endpoint.
        protocol: The protocol of the connection.
        on_failed: A function that is called with the outcome if the connection cannot be opened, unless it was
            cancelled.

    Returns:
        A function that cancels opening the connection.
    """
    connecting = endpoint.connect(_OneProtocol(protocol))
    is_cancelled: list[bool] = []

    def failed(failure: Failure) -> None:
        if not is_cancelled:
            on_failed(connect_outcome(failure.value if failure.value is not None else UserError()))

    def cancel() -> None:
        is_cancelled.append(True)
        connecting.cancel()

    connecting.addCallbacks(_nothing, failed)
    return cancel


def _nothing(_: Any) -> None: ...
