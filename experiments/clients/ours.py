"""Client of the experiments: eas_tw. `--settings` sets options of its `ClientConfig`."""

from pacing import BODY, TIMEOUT_S, Account, options
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient


async def main(reactor):
    given, account = options(), Account()
    config = ClientConfig(timeout_s=TIMEOUT_S, **given.settings)
    client = PredictClient(
        given.endpoint, given.service, token=given.token, endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor,
        config=config,
    )  # fmt: skip
    async with client:
        began = reactor.seconds()

        async def call(due_s):
            await deferLater(reactor, max(0.0, began + due_s - reactor.seconds()))
            try:
                answer = str(await client.predict(BODY))
            except Exception as error:
                answer = error
            account.ended(due_s, reactor.seconds() - began, answer)

        calls = int(given.seconds * given.per_s)
        await gatherResults([Deferred.fromCoroutine(call(number / given.per_s)) for number in range(calls)])
    account.report()


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
