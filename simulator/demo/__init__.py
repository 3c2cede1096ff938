"""The demo: a real client with steady traffic against a simulator in the same process, while a scenario plays.

Apart from the simulation, the demo is the only part of the simulator that runs the real client. Consecutive calls have
different bodies, and the responses of the processors `mnist` and `echo` are checked. A call is lost if it failed or got
a wrong response. The scenario's expectations decide the exit code; the built-in scenario expects that no call is lost.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from simulator.demo.player import Player
from simulator.demo.screen import Screen

if TYPE_CHECKING:
    from simulator.demo.player import DemoOutcome
    from simulator.scenario_model import Scenario

_LOST_SHOWN = 10


def run(scenario: Scenario, *, seed: int, as_json: bool, is_built_in: bool) -> int:
    """Play a scenario on the global reactor, and return the exit code.

    Raises:
        OSError: Standard output cannot be written to; the scenario ends at that point.
    """
    from twisted.internet import reactor as global_reactor  # noqa: PLC0415, TID251  an entry module

    reactor: Any = global_reactor
    codes: list[int] = []
    errors: list[BaseException] = []

    def end() -> None:
        if reactor.running:
            reactor.stop()

    def ended(result: Any) -> None:
        if isinstance(result, int):
            codes.append(result)
        else:
            errors.append(result.value)
        end()

    def lost(error: OSError) -> None:
        # The screen draws from a timer. Twisted would only log an exception of the timer, and the demo
        # would continue.
        errors.append(error)
        reactor.callLater(0, end)

    async def play() -> int:
        player = Player(scenario, reactor=reactor, seed=seed)
        outcome = await player.play(Screen(player, lost))
        report(outcome, as_json=as_json, with_results=not is_built_in)
        return 0 if outcome.is_good else 1

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(play()).addBoth(ended))
    reactor.run()
    if errors:
        raise errors[0]
    return codes[0] if codes else 1


def report(outcome: DemoOutcome, *, as_json: bool, with_results: bool) -> None:
    """Print the counts and lost calls; if `with_results`, also the expectations; if `as_json`, also a line of JSON."""
    account = outcome.account
    summary = outcome.summary()
    refused = ", ".join(f"{reason} {count}" for reason, count in account.discovery_refused.items()) or "none"
    print(
        f"\n{summary['calls']} calls, {summary['lost']} lost, {summary['retries']} retries.\n"
        f"Discovery replies refused: {refused}.\n"
        f"{summary['discovery_requests']} requests to discovery, {summary['instance_requests']} to instances."
    )
    for call in account.lost[:_LOST_SHOWN]:
        print(f"LOST at {call.at_s:.2f} s: {call.problem}", file=sys.stderr)
    if with_results:
        print("\n" + "\n".join(map(str, outcome.results)))
        summary["expectations"] = [result.to_json() for result in outcome.results]
    if as_json:
        print(json.dumps(summary))
