"""The `instances` command: list instances, and change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.commands.remotely import show, table, verbs, with_remote

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from eas_tw.testing.remote import Remote

_CHANGES: dict[str, dict[str, Any]] = {
    "crash": {"state": "crashed"},
    "hang": {"state": "hung"},
    "drain": {"state": "draining"},
    "restart": {"state": "running"},
    "register": {"registered": True},
    "deregister": {"registered": False},
}
_SAYS = {
    "crash": "reset its connections and refuse new ones",
    "hang": "accept and read, but answer nothing",
    "drain": "finish accepted requests, and refuse new connections",
    "restart": "run again, on the same address",
    "register": "register it with discovery",
    "deregister": "remove it from discovery",
    "remove": "stop and remove it",
}
_COLUMNS = ("id", "address", "state", "listed", "weight", "connections", "in flight", "requests", "failures")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb = verbs(parser)
    for name, says in _SAYS.items():
        verb(name, says).add_argument("ids", nargs="+", metavar="ID")
    weight = verb("weight", "weight in discovery replies")
    weight.add_argument("weight", type=float, metavar="WEIGHT")
    weight.add_argument("ids", nargs="+", metavar="ID")
    add = verb("add", "start one more instance")
    add.add_argument("service", metavar="SERVICE")
    add.add_argument("weight", nargs="?", type=float, default=100, metavar="WEIGHT")


def run(options: argparse.Namespace) -> int:
    """Apply the changes, and print the resulting instances."""
    return with_remote(options, _WORK.get(options.verb, _change)(options))


def _list(options: argparse.Namespace) -> Callable[[Remote], None]:
    return lambda remote: _show(options, remote.instances())


def _add(options: argparse.Namespace) -> Callable[[Remote], None]:
    return lambda remote: _show(options, [remote.add_instance(options.service, weight=options.weight)])


def _remove(options: argparse.Namespace) -> Callable[[Remote], None]:
    def work(remote: Remote) -> None:
        for instance_id in options.ids:
            remote.remove_instance(instance_id)
        _show(options, remote.instances())

    return work


def _change(options: argparse.Namespace) -> Callable[[Remote], None]:
    changes = {"weight": options.weight} if options.verb == "weight" else _CHANGES[options.verb]
    return lambda remote: _show(options, [remote.change(instance_id, **changes) for instance_id in options.ids])


_WORK = {None: _list, "add": _add, "remove": _remove}


def _show(options: argparse.Namespace, instances: list[Any]) -> None:
    rows = [
        (
            i["id"],
            f"{i['ip']}:{i['port']}",
            i["state"],
            "yes" if i["registered"] else "no",
            f"{i['weight']:g}",
            i["connections"],
            i["in_flight"],
            i["requests"],
            i["failures"],
        )
        for i in instances
    ]
    show(options, {"instances": instances}, lambda: table(_COLUMNS, rows))
