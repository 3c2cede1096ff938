"""The catalogue: every fault kind of the simulation, with its scope, its parameters, and the failures that it explains.

The checkers accept a failure only if an active fault explains it. An entry that explains too many failures hides bugs;
an entry that explains too few failures causes false violations. `injector` carries the faults out.

The dictionaries of `FIRST_KINDS` and `LATER_KINDS` are closed: one more kind in them would change the faults of seeds
whose runs tests expect. Add a new kind to `SERVED_LATER`. If the kind needs something else in the world, as faults of
streams need streams, add it to a new dictionary instead, with an option in `world_options`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from simulator.virtual.faults.agents import FAILURES
from simulator.virtual.network.fault_points import ANY, BAD_ADDRESS, LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    Draw = Callable[[Random], Any]


class Scope(StrEnum):
    """The part of the world that a fault affects."""

    INSTANCE = "instance"
    ZONE = "zone"
    CLIENT = "client"
    """The clock or the timing of a client's host; during such a fault the client's timing cannot be checked."""
    INSIDE = "process of client"
    """A client's process: a lack of resources, or an exception."""
    CONTROL = "control"
    """The control plane: the content of discovery replies, or the link to it."""
    GATEWAY = "client of the gateway"
    """The agent of a client that calls through the gateway."""
    NAMES = "name server"
    """The name server, which all hosts use."""
    CONSUMER = "consumer of the queue"
    """A process that watches the queue."""
    MEMBER = "fleet member"
    """One instance in the list; an operator changes it, which is not a failure."""
    FLEET = "fleet"
    """The whole fleet; an operator changes it, or it gets a burst of calls. Neither is a failure."""


REFUSED, TIMED_OUT = "connect_refused", "connect_timeout"
LOST, CUT, STALE, VIOLATION, STATUS = "lost", "cut", "stale", "violation", "status"
LATE = frozenset({TIMED_OUT, "attempt_timeout", "waited", "deadline", "overloaded"})
"""Statuses that a delay may cause: calls wait, and queues grow."""
BROKEN = frozenset({LOST, CUT, STALE})
AT_HOME = frozenset({"connect_failed", "local_resource", *LATE})
"""Statuses that a lack of resources on the client's host may cause."""
WRONG = "wrong answer"


@frozen
class CatalogEntry:
    """One kind of fault.

    Attributes:
        says: Description, one line.
        scope: The part of the world that it affects.
        explains: Attempt statuses (`AttemptStatus`) that it may cause.
        statuses: HTTP statuses that it may cause. If empty, the parameter `code` of the drawn fault is the status.
        lasts_s: Shortest and longest length, in seconds.
        draws: Parameters, with the values that may be drawn.
        fault: Name of the simulator's fault that carries it out; empty if the injector does.
        lingers_s: Seconds after its end for which it explains failures, in addition to the second that every fault has.
        echoes: Whether it explains failures for as long after its end as it lasted, because retransmissions back off
            exponentially, or requests have queued.
        adds_up: Whether the times after the end add up: if an earlier fault of this kind still explains failures when a
            new fault begins, the rest of that time is added to the time of the new fault.
        is_content: Whether it changes only the content of discovery replies, and does not affect their delivery.
        point: Name of the fault point in `fault_points.POINTS` that fails; empty for kinds without a fault point.
    """

    says: str
    scope: Scope = Scope.INSTANCE
    explains: frozenset[str] = frozenset()
    statuses: tuple[int, ...] = ()
    lasts_s: tuple[float, float] = (1.0, 30.0)
    draws: Mapping[str, Draw] = field(factory=dict)
    fault: str = ""
    lingers_s: float = 0.0
    echoes: bool = False
    adds_up: bool = False
    is_content: bool = False
    point: str = ""

    @property
    def holds_up_polls(self) -> bool:
        """Whether the affected clients may poll late or not at all."""
        return self.scope is Scope.CLIENT or (self.scope is Scope.INSIDE and bool(self.explains))


def _choice(*values: Any) -> Draw:
    return lambda rng: rng.choice(values)


def _between(low: float, high: float) -> Draw:
    return lambda rng: round(rng.uniform(low, high), 3)


def _whole(low: int, high: int) -> Draw:
    return lambda rng: rng.randint(low, high)


_OFTEN = {"probability": _choice(0.05, 0.3, 1.0)}
# Closed: one more variant would change the variants that the seeds draw.
_MALFORMED = (
    "not_http", "bad_status_line", "http_2_version", "no_colon", "folded_header", "two_lengths", "length_and_chunked",
    "bad_chunk_size", "huge_header", "informational", "switching_protocols", "unsolicited", "leading_garbage",
)  # fmt: skip


def _instance(says: str, *explains: str, **more: Any) -> CatalogEntry:
    return CatalogEntry(says, explains=frozenset(explains), **more)


SERVED: dict[str, CatalogEntry] = {
    "crash": _instance("connections are reset and the port refuses; then it is back", REFUSED, *BROKEN),
    "hang": _instance("accepts, and answers nothing until it goes on", *LATE, *BROKEN),
    "drain": _instance("terminates, and is back", REFUSED, *BROKEN),
    # LOST is included, because the kernel resets a connection whose handshake is under way when the port closes.
    "refuse": _instance("new connections are refused", REFUSED, LOST, fault="refuse"),
    # LATE is included, because calls that are queued behind a request without a response have less time left.
    "reset": _instance(
        "the connection is reset", *LATE, *BROKEN, fault="reset_peer", draws={**_OFTEN, "timeout": _choice(0, 0, 50)}
    ),
    "swallow": _instance(
        "requests are swallowed", *LATE, *BROKEN, fault="timeout",
        draws={"probability": _choice(0.05, 0.2), "timeout": _choice(0, 300)},
    ),
    "grey": _instance(
        "answers are slow", *LATE, fault="latency",
        draws={**_OFTEN, "latency": _choice(100, 600, 3000), "jitter": _choice(0, 500)},
    ),
    "error": _instance(
        "a status that is not 200", STATUS, fault="http_status", draws={**_OFTEN, "code": _choice(400, 404, 500, 502)}
    ),
    "unavailable": _instance(
        "503 or 450: go elsewhere", STATUS, fault="http_status", draws={**_OFTEN, "code": _choice(503, 450)}
    ),
    "limited": _instance(
        "429 or 503 with Retry-After", STATUS, *LATE, fault="http_status",
        draws={**_OFTEN, "code": _choice(429, 503), "retry_after": _choice(0, 1)},
    ),
    "cut": _instance("the connection ends inside the answer", *BROKEN, VIOLATION, fault="limit_data", draws={
        **_OFTEN, "bytes": _whole(0, 120), "reset": _choice(False, True),
    }),
    "trickle": _instance(
        "the answer's bytes trickle", *LATE, fault="bandwidth", draws={"rate": _choice(1, 20)}, lasts_s=(1.0, 10.0)
    ),
    "slices": _instance(
        "the answer comes in small segments", *LATE, fault="slicer", draws={"average_size": _choice(1, 10)}
    ),
    "truncated": _instance("200 with a body cut short", WRONG, fault="truncate_body", draws=_OFTEN),
    "garbled": _instance("200 with other bytes", WRONG, fault="garble_body", draws={**_OFTEN, "bytes": _whole(1, 4)}),
    "malformed": _instance(
        "the answer breaks HTTP", VIOLATION, *BROKEN, *LATE, STATUS, WRONG, fault="malformed_response",
        draws={**_OFTEN, "how": _choice(*_MALFORMED)},
    ),
    "wrong_length": _instance(
        "the length does not agree with the body", VIOLATION, *BROKEN, *LATE, WRONG, fault="wrong_content_length",
        draws={**_OFTEN, "difference": _choice(-3, 10), "close": _choice(True, True, False)},
    ),
    "slow_close": _instance("the FIN is late", *LATE, *BROKEN, fault="slow_close", draws={"delay": _choice(20, 1000)}),
    "close_idle": _instance(
        "idle connections close when the next request comes", *BROKEN, fault="close_idle",
        draws={"race": _choice(True, True, False), "idle": _choice(0, 500), "reset": _choice(False, True)},
    ),
    # The requests that wait for a worker at the end are computed afterwards, also those whose clients have gone.
    "slow_work": _instance("computing takes longer", *LATE, STATUS, statuses=(450,), fault="slow", echoes=True),
    "reused": _instance("another service has the address: 404", STATUS, statuses=(404,), fault="reused"),
}  # fmt: skip
"""Kinds that affect one instance, carried out by the simulator's own faults. Closed: add to `SERVED_LATER` instead."""

NETWORKED: dict[str, CatalogEntry] = {
    "idle_fin": _instance(
        "idle connections get a FIN, again and again, while requests are written", *BROKEN,
        draws={"every_s": _choice(0.05, 0.5)},
    ),
    "idle_rst": _instance("idle connections are reset, again and again", *BROKEN, draws={"every_s": _choice(0.1, 1.0)}),
    "busy_rst": _instance(
        "connections are reset while a request is on its way", *BROKEN, draws={"every_s": _choice(0.01, 0.1)},
        lasts_s=(1.0, 10.0),
    ),
    "syn_unanswered": _instance("handshakes are not answered", *LATE, echoes=True),
    "slow_handshake": _instance("handshakes take long", *LATE, draws={"handshake_s": _choice(0.3, 0.9, 2.0)}),
    "full_queue": _instance("the queue of connections is full", *LATE, echoes=True),
    "latency": _instance(
        "everything takes longer", *LATE, lingers_s=5.0,
        draws={"latency_s": _choice(0.01, 0.1, 0.8), "jitter_s": _choice(0.0, 0.05), "tail": _choice(0.0, 0.02)},
    ),
    "loss": _instance("packets are lost and sent again", *LATE, lingers_s=5.0, draws={"loss": _choice(0.01, 0.1, 0.3)}),
    "narrow": _instance("little bandwidth", *LATE, lingers_s=5.0, draws={"bytes_per_s": _choice(2_000, 50_000)}),
    "segments": _instance("small segments", draws={"segment_bytes": _choice(1, 7, 100)}),
    "blackhole": _instance("nothing gets through, either way", *LATE, *BROKEN, echoes=True),
    "blackhole_up": _instance("nothing gets to it", *LATE, *BROKEN, echoes=True),
    "blackhole_down": _instance("nothing gets from it", *LATE, *BROKEN, echoes=True),
    "power_loss": _instance("vanishes without a word; what comes back knows no connection", *LATE, *BROKEN, REFUSED,
                            echoes=True),
    "clog": _instance("connections stop and go on, each by itself", *LATE, *BROKEN, lingers_s=1.0),
}  # fmt: skip
"""Kinds that affect the link between one instance and the clients. Closed: see `FIRST_KINDS`."""

ZONED: dict[str, CatalogEntry] = {
    "zone_loss": CatalogEntry(
        "all instances of a zone crash", Scope.ZONE, frozenset({REFUSED, *BROKEN}), lasts_s=(5.0, 60.0)
    ),
    "zone_hole": CatalogEntry(
        "nothing gets to or from a zone", Scope.ZONE, LATE | BROKEN, lasts_s=(5.0, 30.0), echoes=True
    ),
}  # fmt: skip
"""Kinds that affect all instances of a zone. Closed: see `FIRST_KINDS`."""

ON_CLIENTS: dict[str, CatalogEntry] = {
    "stall": CatalogEntry("a client's reactor is busy", Scope.CLIENT, LATE | BROKEN, lasts_s=(0.1, 4.0), lingers_s=1.0),
    "jump_ahead": CatalogEntry(
        "a client's wall clock is set ahead", Scope.CLIENT, LATE, lasts_s=(0.0, 0.0), lingers_s=1.0,
        draws={"by_s": _choice(0.5, 3.0, 60.0)},
    ),
    "jump_back": CatalogEntry(
        "a client's wall clock is set back", Scope.CLIENT, LATE, lasts_s=(0.0, 0.0), lingers_s=30.0,
        adds_up=True,  # a pending timer fires late by the sum of the steps
        draws={"by_s": _choice(0.5, 3.0, 20.0)},
    ),
}  # fmt: skip
"""Kinds that affect the clock or the timing of a client's host. Closed: see `FIRST_KINDS`."""

STEPPED: dict[str, CatalogEntry] = {
    "jump_ahead": evolve(ON_CLIENTS["jump_ahead"], scope=Scope.INSIDE, explains=frozenset(), lingers_s=0.0),
    "jump_back": evolve(ON_CLIENTS["jump_back"], lingers_s=0.1),
}
"""Entries for changes of the wall clock if clients use elapsed time.

A clock that is set ahead explains no failure. A clock that is set back explains delays until the client has checked the
clock.
"""


def _inside(says: str, point: str, errors: Sequence[str], *explains: str, **draws: Draw) -> CatalogEntry:
    return CatalogEntry(
        says, Scope.INSIDE, frozenset(explains), lasts_s=(0.3, 3.0), lingers_s=1.0, point=point,
        draws={"error": _choice(*errors), "probability": _choice(0.1, 0.5, 1.0), **draws},
    )  # fmt: skip


INSIDE: dict[str, CatalogEntry] = {
    "dial_raises": _inside("opening a connection raises", "dial", (*LOCAL, *BAD_ADDRESS), *AT_HOME),
    "no_socket": _inside("there is no socket to be had", "socket", LOCAL, *AT_HOME),
    "no_connect": _inside("connecting fails on this host", "connect", LOCAL, *AT_HOME),
    "send_fails": _inside(
        "sending fails on this host", "send", ("ENOBUFS", "ENOMEM", "MemoryError"), *AT_HOME, *BROKEN
    ),
    "encode_raises": _inside("a request's to_string raises", "encode", ANY),
    "parse_raises": _inside("a request's parse_response raises", "parse", ANY),
    "listener_raises": _inside("a listener raises", "listen", ANY),
    "listener_cancels": _inside("a listener cancels the calls in flight", "cancel", ("ValueError",)),
    "parser_raises": _inside("a callback of the HTTP parser raises", "read", ANY, VIOLATION, *BROKEN, *LATE),
    "apply_raises": _inside("taking over a list raises", "apply", ANY, at=_choice("balancer", "health", "slow start")),
}
"""Kinds that affect one client's process: errors at fault points (`fault_points`), such as sockets and callbacks."""


_CONTENT = ("", "empty_list", "garbage", "stale", "bad_rows", "zero_weights", "duplicates", "flapping", "strangers")


def _control(says: str, fault: str, **draws: Draw) -> CatalogEntry:
    return CatalogEntry(
        says, Scope.CONTROL, lasts_s=(5.0, 120.0), fault=fault, is_content=fault in _CONTENT,
        draws={"probability": _choice(0.3, 1.0), **draws},
    )  # fmt: skip


ON_CONTROL: dict[str, CatalogEntry] = {
    "list_status": _control("discovery answers a status", "http_status", code=_choice(404, 429, 500, 503)),
    "list_empty": _control("discovery answers an empty list", "empty_list"),
    "list_garbage": _control("discovery answers garbage", "garbage", body=_choice(
        "<html>busy</html>", "", "{}", "[]", "null", '{"endpoints": {"items": null}}', '{"endpoints": {"items": [[]]}}',
        '{"endpoints": {"items": [{"ip": 7, "port": "x", "weight": "heavy"}]}}', '{"endpoints": []}', "\x00",
    )),
    "list_stale": _control("discovery answers what was", "stale"),
    "list_late": _control("discovery is slow", "latency", latency=_choice(500, 2500, 4000), jitter=_choice(0, 400)),
    "list_never": _control("discovery never answers", "timeout", timeout=_choice(0, 1000)),
    "list_bad_rows": _control("bad rows among the good ones", "bad_rows"),
    "list_zero": _control("every weight is 0", "zero_weights"),
    "list_negative": _control("every weight is negative", "zero_weights", weight=_choice(-1, -100)),
    "list_duplicates": _control("every row several times", "duplicates", copies=_choice(2, 5)),
    "list_flapping": _control("instances come and go", "flapping", missing=_choice(0.3, 0.9)),
    "list_strangers": _control("a list of addresses where nobody listens", "strangers"),
    "list_huge": _control("the list, and padding", "huge", bytes=_choice(1000, 100_000)),
    "list_unreachable": _control("connections to discovery are reset", "unreachable"),
    "list_cut": _control("the reply ends early", "limit_data", bytes=_whole(0, 400)),
    "list_malformed": _control("the reply breaks HTTP", "malformed_response", how=_choice(*_MALFORMED)),
    "list_wrong_length": _control("the length is wrong", "wrong_content_length", difference=_choice(-3, 10)),
    "control_hole": CatalogEntry("nothing gets to discovery", Scope.CONTROL, lasts_s=(5.0, 60.0), echoes=True),
    "control_slow": CatalogEntry(
        "the way to discovery is bad", Scope.CONTROL, lasts_s=(5.0, 60.0), lingers_s=5.0,
        draws={"loss": _choice(0.1, 0.5), "segment_bytes": _choice(1, 50), "latency_s": _choice(0.001, 0.3)},
    ),
}  # fmt: skip
"""Kinds that affect discovery. Closed: add to `SERVED_LATER` instead."""

OPERATED: dict[str, CatalogEntry] = {
    "add": CatalogEntry("an instance joins", Scope.FLEET, lasts_s=(0.0, 0.0)),
    "remove": CatalogEntry("an instance leaves the list, drains, and ends", Scope.MEMBER, lasts_s=(0.0, 0.0)),
    "replace": CatalogEntry("an instance is replaced by a new one", Scope.MEMBER, lasts_s=(0.0, 0.0)),
    "replace_all": CatalogEntry("the whole fleet is replaced", Scope.FLEET, lasts_s=(0.0, 0.0)),
    "reweigh": CatalogEntry(
        "an instance gets another weight", Scope.MEMBER, lasts_s=(0.0, 0.0),
        draws={"weight": _choice(0, 1, 10, 50, 300)},
    ),
    "burst": CatalogEntry(
        "many calls at once", Scope.FLEET, LATE | {STATUS}, statuses=(450,), lasts_s=(0.0, 0.0),
        lingers_s=5.0, draws={"calls": _choice(20, 100, 400)},
    ),
}  # fmt: skip
"""Changes of the fleet and of the load, which are no failures. Closed: see `FIRST_KINDS`."""

OVERLOAD = CatalogEntry(
    "more calls than the fleet has room for",
    Scope.FLEET,
    LATE | {STATUS},
    statuses=(450,),
    lingers_s=10.0,
)
"""Pseudo-fault for plans whose load may exceed the capacity of the fleet; it is not in the schedule."""


ON_CONNECTIONS: dict[str, CatalogEntry] = {
    "stray_bytes": CatalogEntry(
        "bytes come to a client's idle connections while its program computes", Scope.CLIENT,
        LATE | BROKEN | {"connect_failed"},
        lasts_s=(1.0, 8.0), draws={"every_s": _choice(0.1, 0.5), "busy_s": _choice(0.0, 0.002, 0.03)},
    ),
    "no_length": _instance(
        "answers have no length, and end with the connection", *BROKEN, lasts_s=(1.0, 15.0),
        draws={**_OFTEN, "reset": _choice(False, True, True)},
    ),
}  # fmt: skip
"""Kinds that send bytes in ways for which the simulator has no fault."""

ON_WALL_CLOCKS: dict[str, CatalogEntry] = {
    "wall_ahead": CatalogEntry(
        "a client's wall clock is set ahead; its timers go on", Scope.INSIDE, lasts_s=(0.0, 0.0),
        draws={"by_s": _choice(0.5, 600.0, 86_400.0, 3e7)},
    ),
    "wall_back": CatalogEntry(
        "a client's wall clock is set back; its timers go on", Scope.INSIDE, lasts_s=(0.0, 0.0),
        draws={"by_s": _choice(0.5, 600.0, 86_400.0, 3e7)},
    ),
}  # fmt: skip

REWRITTEN: dict[str, CatalogEntry] = {
    "list_copies": _control("rows several times with other weights, in any order", "", copies=_choice(2, 4)),
    "list_odd_rows": _control("rows with unreasonable values among the good ones", ""),
    "list_weights": _control("weights of sixty orders of magnitude", ""),
    "list_other_status": _control(
        "a good list with a status that is not 200", "", code=_choice(201, 203, 300, 404, 503)
    ),
}
"""Kinds that change discovery replies in ways for which the simulator has no fault."""


ON_NAMES: dict[str, CatalogEntry] = {
    "names_fail": CatalogEntry(
        "look-ups of names fail", Scope.NAMES, lasts_s=(2.0, 60.0),
        draws={"probability": _choice(0.5, 1.0), "at_once": _choice(False, True)},
    ),
    "names_stall": CatalogEntry(
        "look-ups of names take long, or have no end (0)", Scope.NAMES, lasts_s=(2.0, 60.0),
        draws={"probability": _choice(0.5, 1.0), "delay_s": _choice(0.0, 0.23, 2.3)},
    ),
}  # fmt: skip
"""Kinds that affect the name server. They explain no failure, because clients keep resolved addresses."""


def _agent(says: str, *explains: str, statuses: tuple[int, ...] = (), **draws: Draw) -> CatalogEntry:
    return CatalogEntry(
        says, Scope.GATEWAY, frozenset(explains), statuses, lasts_s=(2.0, 30.0), lingers_s=1.0,
        draws={"probability": _choice(0.2, 0.5, 1.0), **draws},
    )  # fmt: skip


ON_AGENTS: dict[str, CatalogEntry] = {
    "agent_fails": _agent(
        "an agent fails at once", REFUSED, TIMED_OUT, "connect_failed", LOST, error=_choice(*FAILURES)
    ),
    "agent_raises": _agent("an agent raises", LOST, error=_choice(*ANY)),
    "agent_answers_early": _agent("an agent answers before it returns", statuses=(502,), code=_choice(200, 200, 502)),
    "agent_never_answers": _agent("an agent never answers", *LATE, cancelling=_choice("works", "raises", "answers")),
    "agent_answers_twice": _agent("an agent tells a body twice"),
}
"""Kinds that affect the agent that a program passes to its client of the gateway."""

LONG_LISTS: dict[str, CatalogEntry] = {
    "list_many_rows": evolve(
        _control(
            "thousands of rows, few of which are instances with a weight", "",
            rows=_choice(3_000, 12_000), weightless=_choice(0.0, 0.0, 0.9),
        ),
        lasts_s=(6.0, 25.0),
    ),
}  # fmt: skip
"""Kinds of discovery faults with replies that take long to parse."""


STREAMED: dict[str, CatalogEntry] = {
    # Stalled streams occupy the workers of an instance for as long as their clients wait.
    "stall_stream": _instance(
        "answers stop in their body", *LATE, fault="stall_stream", lingers_s=10.0,
        draws={**_OFTEN, "after_bytes": _whole(0, 3000), "duration": _choice(0, 300, 3000)},
    ),
    "cut_stream": _instance(
        "connections end inside the body", *BROKEN, VIOLATION, fault="cut_stream",
        draws={**_OFTEN, "after_bytes": _whole(0, 3000), "reset": _choice(False, True)},
    ),
    "garble_stream": _instance(
        "bytes of the body, or of its framing, are changed", WRONG, VIOLATION, *BROKEN, *LATE, fault="garble_stream",
        draws={
            **_OFTEN, "after_bytes": _whole(0, 3000), "bytes": _whole(1, 4), "where": _choice("body", "framing"),
        },
    ),
    "slow_first_byte": _instance(
        "the head comes, and the body late", *LATE, fault="slow_first_byte",
        draws={**_OFTEN, "delay": _choice(50, 500, 2000)},
    ),
    "half_close": _instance(
        "instances stop sending inside a stream, and go on reading", *BROKEN, *LATE, lasts_s=(1.0, 10.0),
        draws={"every_s": _choice(0.05, 0.5)},
    ),
}  # fmt: skip
"""Kinds that affect responses while they are sent; drawn only for worlds with streams."""

SERVED_LATER: dict[str, CatalogEntry] = {}
"""Kinds like those of `SERVED` and `ON_CONTROL` that were added later; a new fault of the simulator belongs here.

Each kind has its own random stream (`world_options`), so one more kind changes neither the plans of `later=False` nor
the faults of other kinds. A tenth of the chaos worlds get faults of the new kind in addition to their other faults, so
the runs of these worlds change. If such a world has a queue service, in half of the cases the faults affect instances
of the queue service instead, unless the kind explains `WRONG`.
"""

QUEUED: dict[str, CatalogEntry] = {
    "drop_watch": _instance(
        "watches are cut off after a frame", *BROKEN, VIOLATION, fault="drop_watch",
        draws={**_OFTEN, "reset": _choice(False, True)},
    ),
    "redeliver": _instance(
        "frames that are not committed in time are sent again", fault="redeliver",
        draws={**_OFTEN, "after": _choice(50, 300, 1000)},
    ),
    "duplicate_frame": _instance("frames are sent twice", fault="duplicate_frame", draws=_OFTEN),
    # BROKEN is included, because the instance may end before it answers the commit.
    "delay_commit": _instance(
        "commits take effect late", *LATE, *BROKEN, fault="delay_commit",
        draws={**_OFTEN, "delay": _choice(50, 500, 3000)},
    ),
    "full": _instance("puts are answered with 429", STATUS, statuses=(429,), fault="full", draws=_OFTEN),
    "consumer_killed": CatalogEntry(
        "a process that watches is killed, and another is started", Scope.CONSUMER, lasts_s=(0.5, 10.0),
    ),
}  # fmt: skip
"""Kinds that affect the queue service and the processes that watch it; drawn only for worlds with a queue service."""

FIRST_KINDS: dict[str, CatalogEntry] = {**SERVED, **NETWORKED, **ZONED, **ON_CLIENTS, **ON_CONTROL, **OPERATED}
"""Kinds that are drawn from a plan's first random stream. Closed: a new kind here, or in one of these dictionaries,
would change the faults of every seed."""
LATER_KINDS: dict[str, CatalogEntry] = {**INSIDE, **ON_CONNECTIONS, **ON_WALL_CLOCKS, **REWRITTEN}
"""Kinds that were added later, and are drawn from their own random stream. Closed: a new kind would change the later
faults of every chaos seed."""
LATEST_KINDS: dict[str, CatalogEntry] = {
    **ON_NAMES,
    **ON_AGENTS,
    **LONG_LISTS,
    **STREAMED,
    **QUEUED,
    **SERVED_LATER,
}
"""Kinds that are drawn with an option of the world, each group from its own random stream (`world_options`). One more
kind in a group changes the faults of the seeds with the option."""
KINDS: dict[str, CatalogEntry] = {**FIRST_KINDS, **LATER_KINDS, **LATEST_KINDS}

GROUPS: dict[str, dict[str, CatalogEntry]] = {
    "simulator": {**SERVED, **SERVED_LATER},
    "network": {**NETWORKED, **ON_CONNECTIONS},
    "zones": ZONED,
    "clients": {**ON_CLIENTS, **ON_WALL_CLOCKS},
    "inside clients": INSIDE,
    "discovery": {**ON_CONTROL, **REWRITTEN, **LONG_LISTS},
    "agents": ON_AGENTS,
    "names": ON_NAMES,
    "streams": STREAMED,
    "queues": QUEUED,
    "operators": OPERATED,
}
"""The kinds by group, from which docs/fault_tables.py makes the table of docs/simulation/index.md."""
