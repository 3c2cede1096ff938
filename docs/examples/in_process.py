"""Run a simulator in the process that uses it, such as a test on Twisted."""

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient
from simulator import Fault, ServiceSpec, Simulator, Target


def inject_faults(world):
    world.faults.add(
        Fault(
            "latency",
            Target("ranker", "ranker-0"),
            {"latency": 200, "jitter": 50},
            probability=0.3,
        )
    )
    world.faults.add(Fault("empty_list", name="bad-list"))  # on discovery
    world.faults.remove("bad-list")


async def main(reactor):
    async with Simulator(
        reactor, services=[ServiceSpec("ranker", 3)], seed=7
    ) as simulator:
        inject_faults(simulator)
        client = PredictClient(
            simulator.url,
            "ranker",
            endpoint_type=ENDPOINT_TYPE_DIRECT,
            reactor=reactor,
        )
        async with client:
            simulator.instance("ranker-1").crash()
            for number in range(10):
                assert (
                    str(await client.predict(f"call {number}")) == f"call {number}"
                )
        assert simulator.journal.total == 10


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
