"""The `faults` command: list, add and remove faults.

An example is `faults add latency --service s --set latency=200`.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from simulator.commands.remotely import show, table, verbs, with_remote
from simulator.fault_kinds import ON_DISCOVERY, ON_INSTANCES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eas_tw.testing.remote import Remote

_COLUMNS = ("name", "type", "on", "attributes", "struck", "ends")
_WHEN = {"name": str, "probability": float, "times": int, "skip": int, "duration-s": float}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb = verbs(parser)
    verb("types", "list the fault types")
    verb("clear", "remove all faults")
    verb("remove", "remove faults by name").add_argument("names", nargs="+", metavar="NAME")
    add = verb("add", "add a fault")
    add.add_argument("type", choices=sorted({*ON_INSTANCES, *ON_DISCOVERY}), metavar="TYPE")
    add.add_argument(
        "--set",
        type=_attribute,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="attribute of the fault; may be repeated",
    )
    add.add_argument("--discovery", action="store_true", help="target discovery")
    add.add_argument("--service", help="target this service")
    add.add_argument("--instance", help="target this instance")
    add.add_argument("--zone", help="target the instances of this zone")
    for name, kind in _WHEN.items():
        add.add_argument(f"--{name}", type=kind)


def run(options: argparse.Namespace) -> int:
    """Run the verb, and return the exit code."""
    if options.verb == "types":
        titles = ("type", "on", "attributes", "says")
        kinds = [("instances", *item) for item in ON_INSTANCES.items()]
        kinds += [("discovery", *item) for item in ON_DISCOVERY.items()]
        rows = [(name, on, ", ".join(kind.attributes), kind.says) for on, name, kind in kinds]
        show(options, [dict(zip(titles, row, strict=True)) for row in rows], lambda: table(titles, rows))
        return 0
    return with_remote(options, lambda remote: _work(options, remote))


def _work(options: argparse.Namespace, remote: Remote) -> None:
    if options.verb == "clear":
        remote.clear_faults()
    elif options.verb == "remove":
        for name in options.names:
            remote.remove_fault(name)
    elif options.verb == "add":
        remote.ask("POST", "/v1/faults", _fault(options, remote))
    faults = remote.faults()
    show(options, {"faults": faults}, lambda: _lines(faults))


def _fault(options: argparse.Namespace, remote: Remote) -> dict[str, Any]:
    service = options.service
    if options.instance and not service:
        service = remote.instance(options.instance)["service"]
    named = {"service": service, "instance": options.instance, "zone": options.zone, "discovery": options.discovery}
    given = {name.replace("-", "_"): getattr(options, name.replace("-", "_")) for name in _WHEN}
    return {
        "type": options.type,
        "target": {name: value for name, value in named.items() if value},
        "attributes": dict(options.set),
        **{name: value for name, value in given.items() if value is not None},
    }


def _lines(faults: Iterable[Any]) -> list[str]:
    rows = [
        (
            fault["name"],
            fault["type"],
            _where(fault["target"]),
            ", ".join(f"{name}={value}" for name, value in fault["attributes"].items()),
            fault["struck"],
            _ends(fault),
        )
        for fault in faults
    ]
    return table(_COLUMNS, rows) if rows else ["no faults"]


def _where(target: dict[str, Any]) -> str:
    names = [str(target[name]) for name in ("service", "instance", "zone") if name in target]
    return " ".join([*(["discovery"] if target.get("discovery") else []), *names])


def _ends(fault: dict[str, Any]) -> str:
    ends = [f"after {fault['times']} times"] if fault["times"] else []
    ends += [f"{fault['duration_s']:g} s after its start"] if fault["duration_s"] is not None else []
    return ", ".join(ends) or "never"


def _attribute(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"must look like NAME=VALUE, such as latency=200, got {text!r}")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value
