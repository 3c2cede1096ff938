"""The demo: a real client against a simulator in one process, steady traffic, and a story of everything going wrong.

The one served module, beside the virtual world, that runs the real client. Every call carries something of its own and
every answer is checked, so a lost call is one that failed or got a wrong answer. The story's expectations decide the
exit code; the built-in story expects that no call is lost.
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
    from simulator.scenario import Scenario

_LOST_SHOWN = 10


def run(scenario: Scenario, *, seed: int, as_json: bool, is_built_in: bool) -> int:
    """Play a story on the global reactor; the exit code.

    Raises:
        OSError: Standard output cannot be written to; the story ends there.
    """
    from twisted.internet import reactor as global_reactor  # noqa: PLC0415, TID251  an entry module

    reactor: Any = global_reactor
    codes: list[int] = []
    unwritable: list[OSError] = []

    def end() -> None:
        if reactor.running:
            reactor.stop()

    def ended(result: Any) -> None:
        if isinstance(result, int):
            codes.append(result)
        elif result.check(BrokenPipeError):
            unwritable.append(result.value)
        else:
            result.printTraceback()
        end()

    def lost(error: OSError) -> None:
        # Raised where it happens, in a timer, it would be logged, and the story would go on for nobody.
        unwritable.append(error)
        reactor.callLater(0, end)

    async def play() -> int:
        player = Player(scenario, reactor=reactor, seed=seed)
        outcome = await player.play(Screen(player, lost))
        report(outcome, as_json=as_json, with_results=not is_built_in)
        return 0 if outcome.is_good else 1

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(play()).addBoth(ended))
    reactor.run()
    if unwritable:
        raise unwritable[0]
    return codes[0] if codes else 1


def report(outcome: DemoOutcome, *, as_json: bool, with_results: bool) -> None:
    """Say how it ended: in words, and as one line of JSON at the end."""
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
