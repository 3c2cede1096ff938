"""Health checks of a program with clients, for Kubernetes or a load balancer.

EAS_TOKEN=… python health.py ENDPOINT SERVICE tcp:8081:interface=127.0.0.1
"""

import json
import os
import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Site

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient


def state_of(client):
    discovery = client.discovery
    return {
        "ready": client.is_ready and len(client.ejected) < len(client.instances),
        "instances": len(client.instances),
        "ejected": len(client.ejected),
        "list_age_s": discovery.age_s,
        "last_error": discovery.last_error,
    }


class Ready(Resource):
    """Responds 200 while every client has an instance to call, otherwise 503."""

    isLeaf = True

    def __init__(self, clients):
        super().__init__()
        self.clients = clients

    def render_GET(self, request):
        states = {name: state_of(each) for name, each in self.clients.items()}
        is_ready = all(state["ready"] for state in states.values())
        request.setResponseCode(200 if is_ready else 503)
        request.setHeader("Content-Type", "application/json")
        return json.dumps(states).encode()


async def main(reactor, endpoint, service, listen):
    client = PredictClient(
        endpoint,
        service,
        token=os.environ.get("EAS_TOKEN", ""),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    client.init().addErrback(lambda _: None)  # the client continues to poll
    root = Resource()
    root.putChild(b"readyz", Ready({service: client}))
    port = await serverFromString(reactor, listen).listen(Site(root))
    print(f"http://127.0.0.1:{port.getHost().port}/readyz", flush=True)
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
