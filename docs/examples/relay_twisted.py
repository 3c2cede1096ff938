"""A relay for language models, which forwards responses while they arrive.

EAS_TOKEN=… python relay_twisted.py ENDPOINT SERVICE PORT
"""

import os
import sys

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from eas_tw import ENDPOINT_TYPE_DIRECT, DeadlineExceeded, EasError, PredictClient

KEPT = ("content-type", "content-encoding", "x-request-id")


class Relay(Resource):
    """Forwards every request to the service, below the service's path."""

    isLeaf = True

    def __init__(self, client):
        super().__init__()
        self.client = client

    def render(self, request):
        relaying = Deferred.fromCoroutine(self.relay(request))
        # The browser has disconnected: cancelling closes the instance's connection.
        request.notifyFinish().addErrback(lambda _: relaying.cancel())
        relaying.addErrback(lambda failure: failure.trap(CancelledError))
        return NOT_DONE_YET

    async def relay(self, request):
        path, _, query = request.uri.decode("ascii").partition("?")
        content_type = request.getHeader("content-type") or "application/json"
        opening = self.client.stream(
            request.content.read(),
            method=request.method.decode("ascii"),
            path=path,
            query=query or None,
            headers={"Content-Type": content_type},
            timeout_s=60,
            any_status=True,
        )
        try:
            async with opening as stream:
                request.setResponseCode(stream.status)
                for name in KEPT:
                    if name in stream.headers:
                        request.setHeader(name, stream.headers[name])
                flow = FlowControl()
                request.registerProducer(flow, True)
                async for piece in stream.iter_raw():
                    request.write(piece)
                    await flow.wait()
        except EasError as error:
            if request.startedWriting:
                # The status is sent already, so only an abort signals the error.
                request.transport.abortConnection()
                return
            late = isinstance(error, DeadlineExceeded)
            request.setResponseCode(504 if late else 502)
            request.write(str(error).encode())
        if request.producer is not None:
            request.unregisterProducer()
        request.finish()


@implementer(IPushProducer)
class FlowControl:
    """Waits while the browser reads more slowly than the instance sends."""

    def __init__(self):
        self.resumed = None

    async def wait(self):
        if self.resumed is not None:
            await self.resumed

    def pauseProducing(self):
        self.resumed = Deferred()

    def resumeProducing(self):
        resumed, self.resumed = self.resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self):
        self.resumeProducing()


async def main(reactor, endpoint, service, port):
    client = PredictClient(
        endpoint,
        service,
        token=os.environ.get("EAS_TOKEN", ""),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        server = TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1")
        listening = await server.listen(Site(Relay(client)))
        print(f"http://127.0.0.1:{listening.getHost().port}", flush=True)
        await Deferred()  # until the program is stopped


if __name__ == "__main__":
    react(lambda *arguments: Deferred.fromCoroutine(main(*arguments)), sys.argv[1:])
