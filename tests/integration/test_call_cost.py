"""Cost of a call on an open connection, in function calls and system calls. `benchmarks` measures times."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.programs import printed, program

if TYPE_CHECKING:
    from tests.simulator.serving import Served

_PROGRAM = """
import collections, json, os, sys

import eas_tw
from eas_tw import PredictClient
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

OWN = os.path.dirname(eas_tw.__file__)
calls, system_calls = collections.Counter(), collections.Counter()


def count(frame, event, argument):
    if event == "call" and frame.f_code.co_filename.startswith(OWN):
        calls[frame.f_code.co_qualname] += 1
    elif event == "c_call" and argument.__name__ in ("send", "recv", "poll", "epoll_ctl", "connect"):
        system_calls[argument.__name__] += 1


async def one(client):
    {one}


async def main(reactor):
    endpoint, token = os.environ["EAS_ENDPOINT"], os.environ["EAS_TOKEN"]
    async with PredictClient(endpoint, "echo", token=token, endpoint_type="DIRECT", reactor=reactor) as client:
        for _ in range(40):
            await one(client)
        sys.setprofile(count)
        for _ in range(100):
            await one(client)
        sys.setprofile(None)
    print(json.dumps([dict(calls), dict(system_calls)]))

react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""
KINDS = {
    "predict": "await client.predict(b'x' * 52)",
    "stream": "async with client.stream(b'x' * 52) as stream: await stream.read()",
}
MOST_CALLS = {"predict": 40, "stream": 105}


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_call_costs_few_function_calls_and_one_send_and_one_receive(served: Served, kind: str) -> None:
    """Only Python functions of `eas_tw` are counted. The echo service responds on a reused connection."""
    (line,) = printed(program(served, _PROGRAM.replace("{one}", KINDS[kind])))
    calls, system_calls = json.loads(line)
    most = MOST_CALLS[kind]
    often: list[Any] = sorted(((count / 100, name) for name, count in calls.items() if count >= 50), reverse=True)
    assert sum(calls.values()) <= most * 100, often
    # Up to two polls of discovery can happen during the hundred calls.
    assert 100 <= system_calls["send"] <= 102
    assert 100 <= system_calls["recv"] <= 105
