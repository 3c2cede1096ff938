"""A web service that puts each item of a list into a queue, and returns all results.

EAS_ENDPOINT=… EAS_TOKEN=… twistd --nodaemon --python queue_service.py

POST a JSON list. One watch receives the results of every request.
"""

import json
import os

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from eas_tw import ENDPOINT_TYPE_DIRECT, QueueClient

log = Logger(namespace="fan_out")


class Results(Service):
    """Watch the results, and pass each one to the request that waits for it."""

    def __init__(self, queue):
        self.queue = queue
        self.waiting = {}  # request id: Deferred
        self.putting = 0
        self.early = {}  # results that came before the response to their put

    def startService(self):
        super().startService()
        watching = Deferred.fromCoroutine(self.watch())
        watching.addErrback(lambda failure: log.failure("no results", failure))

    def stopService(self):
        super().stopService()
        return self.queue.close()

    async def watch(self):
        await self.queue.init()
        async with self.queue.sink().watch(window=64) as watcher:
            async for frame in watcher:
                waiter = self.waiting.pop(frame.request_id, None)
                if waiter is not None:
                    waiter.callback(frame)
                elif self.putting:
                    self.early[frame.request_id] = frame
                # Not awaited, so that several commits are sent in one request.
                committing = watcher.commit(frame)
                committing.addErrback(lambda failure: log.failure("again", failure))

    async def compute(self, value):
        self.putting += 1
        try:
            put = await self.queue.put(json.dumps(value))
        finally:
            self.putting -= 1
        frame = self.early.pop(put.request_id, None)
        if not self.putting:
            self.early.clear()  # the rest are results of other processes
        if frame is None:
            waiter = self.waiting[put.request_id] = Deferred()
            frame = await waiter.addTimeout(60, reactor)
        return json.loads(frame.data)


class FanOut(Resource):
    """Answers a POST of a JSON list with the list of results."""

    isLeaf = True

    def __init__(self, results):
        super().__init__()
        self.results = results

    def render_POST(self, request):
        answering = Deferred.fromCoroutine(self.answer(request))
        answering.addErrback(lambda failure: log.failure("not answered", failure))
        return NOT_DONE_YET

    async def answer(self, request):
        values = json.loads(request.content.read())
        parts = [Deferred.fromCoroutine(self.results.compute(v)) for v in values]
        try:
            answer = await gatherResults(parts, consumeErrors=True)
        except FirstError as error:
            request.setResponseCode(503)
            answer = error.subFailure.getErrorMessage()
        request.write(json.dumps(answer).encode())
        request.finish()


results = Results(
    QueueClient(
        os.environ["EAS_ENDPOINT"],
        os.environ.get("EAS_SERVICE", "qservice"),
        token=os.environ["EAS_TOKEN"],
        # Each process needs a separate group, so that it receives all results.
        group=os.environ.get("GROUP", "fan-out"),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
    )
)
application = Application("fan-out")
results.setServiceParent(application)
listening = serverFromString(
    reactor, os.environ.get("LISTEN", "tcp:8080:interface=127.0.0.1")
)
site = Site(FanOut(results))
StreamServerEndpointService(listening, site).setServiceParent(application)
