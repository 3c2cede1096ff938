"""The `status` command: print a summary of a running simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.commands.remotely import add_url, show, with_remote

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from eas_tw.testing.remote import Remote


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_url(parser)


def run(options: argparse.Namespace) -> int:
    """Print the summary."""

    def work(remote: Remote) -> None:
        state = remote.state()
        show(options, state, lambda: _lines(state))

    return with_remote(options, work)


def _lines(state: Any) -> Iterator[str]:
    requests, discovery = state["requests"], state["discovery"]
    yield f"EAS simulator at {state['url']}   seed {state['seed']}   up {state['uptime_s']:.0f} s"
    yield f"requests   {requests['total']}, of which {requests['failures']} failed"
    answers = ", ".join(f"{name} {count}" for name, count in discovery["by_answer"].items())
    yield f"discovery  {discovery['requests']}{f': {answers}' if answers else ''}"
    for service in state["services"]:
        states = [instance["state"] for instance in service["instances"]]
        counted = ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states))
        yield f"service    {service['name']}: {counted or 'no instances'}"
    for fault in state["faults"]:
        yield f"fault      {fault['name']}: {fault['type']}, struck {fault['struck']} times"
