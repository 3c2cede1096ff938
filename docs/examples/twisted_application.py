"""A web service that scores with two PAI-EAS services.

EAS_ENDPOINT=… EAS_TOKEN=… twistd --nodaemon --python twisted_application.py

LISTEN is an endpoint string, such as tcp:8080:interface=127.0.0.1.
"""

import os

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application, MultiService
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, EasError, PredictClient
from eas_tw.service import ClientService

log = Logger(namespace="scoring")


def client_of(service):
    return PredictClient(
        os.environ["EAS_ENDPOINT"],
        service,
        token=os.environ.get("EAS_TOKEN", ""),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        config=ClientConfig(timeout_s=2.0, drain_timeout_s=3.0),
    )


class Score(Resource):
    """Answers a POST with the service's response to its body."""

    isLeaf = True

    def __init__(self, client):
        super().__init__()
        self.client = client

    def render_POST(self, request):
        answering = Deferred.fromCoroutine(self.answer(request))
        # The client has disconnected: cancelling closes the call's connection.
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        answering.addErrback(
            lambda failure: log.info(
                "not answered: {why}", why=failure.getErrorMessage()
            )
        )
        return NOT_DONE_YET

    async def answer(self, request):
        try:
            response = await self.client.predict(request.content.read())
        except EasError as error:
            request.setResponseCode(503)
            request.write(str(error).encode())
        else:
            request.write(response.content)
        request.finish()


application = Application("scoring")
clients = MultiService()
clients.setServiceParent(application)
root = Resource()
for name in ("echo", "mnist"):
    service = ClientService(client_of(name))
    service.setServiceParent(clients)
    root.putChild(name.encode(), Score(service.client))

listening = serverFromString(
    reactor, os.environ.get("LISTEN", "tcp:8080:interface=127.0.0.1")
)
StreamServerEndpointService(listening, Site(root)).setServiceParent(application)
