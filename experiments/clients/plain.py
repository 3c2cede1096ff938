"""Client of the experiments: a minimal client on treq, as a program might contain it.

It polls the list every 5 s, uses the instances in turn, makes one attempt per call, and times out after 5 s.
"""

import itertools
import json

import treq
from pacing import BODY, TIMEOUT_S, Account, options
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.web.client import Agent, HTTPConnectionPool

PATH = "/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/"


async def main(reactor):
    given, account = options(), Account()
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = 100
    http = treq.client.HTTPClient(Agent(reactor, connectTimeout=1.0, pool=pool))
    turns = itertools.cycle([])

    async def poll():
        nonlocal turns
        response = await http.get(given.endpoint + PATH + given.service, timeout=3.0)
        items = json.loads(await response.content())["endpoints"]["items"]
        turns = itertools.cycle([f"http://{item['ip']}:{item['port']}" for item in items])

    await poll()
    polling = LoopingCall(lambda: Deferred.fromCoroutine(poll()).addErrback(lambda _: None))
    polling.start(5.0, now=False)
    began = reactor.seconds()

    async def call(due_s):
        await deferLater(reactor, max(0.0, began + due_s - reactor.seconds()))
        try:
            url = f"{next(turns)}/api/predict/{given.service}"
            response = await http.post(
                url, data=BODY.encode(), headers={"Authorization": given.token}, timeout=TIMEOUT_S
            )
            answer = (await response.content()).decode()
            if response.code != 200:
                answer = RuntimeError(response.code)
        except Exception as error:
            answer = error
        account.ended(due_s, reactor.seconds() - began, answer)

    calls = int(given.seconds * given.per_s)
    await gatherResults([Deferred.fromCoroutine(call(number / given.per_s)) for number in range(calls)])
    polling.stop()
    account.report()
    await pool.closeCachedConnections()


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
