"""The command `eas-tw discover`, which prints the list of instances, and with `--watch` also its changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eas_tw import ConfigError
from eas_tw.cli.output import while_read

if TYPE_CHECKING:
    import argparse

    from eas_tw import Instance, PredictClient
    from eas_tw.cli.settings import Given

DESCRIPTION = "List the instances of a service. With --watch, also print each change of the list until interrupted."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument("--watch", action="store_true", help="continue, and print each change")
    parser.add_argument("--interval-s", type=float, default=5.0, help="seconds between polls (default: %(default)s)")
    parser.add_argument("--output", choices=("pretty", "json"), default="pretty", help="json: one object per line")


def prepare(options: argparse.Namespace) -> None:
    """Do nothing, because this command reads no input before it connects."""


async def run(reactor: Any, given: Given, options: argparse.Namespace, _: None) -> None:
    """Print the list of instances, and its changes with `--watch`.

    Raises:
        ConfigError: The endpoint type is `gateway`.
        EasError: The list could not be read.
    """
    if given.is_gateway:
        raise ConfigError("a gateway has no list of instances: discover takes --endpoint-type direct or vipserver")
    client = given.make_client(reactor, poll_interval_s=options.interval_s)
    printer = _Printer(options.output)
    async with client:
        printer.show(client.instances)
        if options.watch:
            watching: Deferred[None] = Deferred()

            def listener(event: object) -> None:
                # The list may have changed at any event; the printer compares it with the list that it printed.
                try:
                    printer.heard(client, event)
                except OSError as error:  # `print` failed: the client would only log this, and the command would go on
                    if not watching.called:
                        watching.errback(error)

            stop = client.listen(listener)
            try:
                await while_read(reactor, watching)
            finally:
                # Remove the listener before the client closes. Closing empties the list, and the listener would print
                # each instance as removed.
                stop()


class _Printer:
    def __init__(self, output: str) -> None:
        self._is_json = output == "json"
        self._shown: dict[tuple[str, int], Instance] = {}

    def show(self, instances: tuple[Instance, ...]) -> None:
        """Print the whole list."""
        self._shown = {instance.key: instance for instance in instances}
        for instance in instances:
            self._line("", instance)

    def heard(self, client: PredictClient, event: object) -> None:
        """Print the changes of the list since the last event, and the reason of a rejected discovery reply."""
        now = {instance.key: instance for instance in client.instances}
        before, self._shown = self._shown, now
        for key, instance in now.items():
            if key not in before:
                self._line("+", instance)
            elif instance.weight != before[key].weight:
                self._line("~", instance)
        for key, instance in before.items():
            if key not in now:
                self._line("-", instance)
        rejection = getattr(event, "error", "") if type(event).__name__ == "PollRefused" else ""
        if rejection:
            self._say({"refused": rejection}, f"! {rejection}")

    def _line(self, sign: str, instance: Instance) -> None:
        row = {"ip": instance.ip, "port": instance.port, "weight": instance.weight}
        change = {"change": {"+": "added", "-": "removed", "~": "reweighted"}[sign]} if sign else {}
        self._say(change | row, f"{sign + ' ' if sign else ''}{instance.address}  weight {instance.weight:g}")

    def _say(self, value: dict[str, Any], text: str) -> None:
        print(json.dumps(value) if self._is_json else text, flush=True)
