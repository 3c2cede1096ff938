"""The `serve` command: run a simulator. The options are validated before anything listens."""

from __future__ import annotations

import argparse
import os
import random
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from simulator import scenario
from simulator.advertising import check_advertise
from simulator.commands import BAD_SCENARIO, say
from simulator.durations import Duration, DurationError
from simulator.processors import SEARCH_PATH, ProcessorError, find
from simulator.recording import read_recording
from simulator.service_spec import (
    GATEWAY_MODES,
    KEEPALIVE_S,
    LLM_KEEPALIVE_S,
    LLM_WORKERS,
    QUEUE,
    WORKERS,
    ServiceSpec,
    SpecError,
)
from simulator.stubs import StubError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.simulator import Simulator

_ADVERTISE_HELP = (
    "host name or address of this machine in discovery replies (default: --host, or if that is a wildcard address, "
    "the address to which the request was sent)"
)
_INSTANCE_PORT_HELP = "port of the first instance; the others get the following ports (default: any free ports)"
_GATEWAY_HELP = (
    "mode of the gateway when an instance refuses connections: answer 502, try the others, or do not choose such an "
    "instance (default: %(default)s)"
)
_QUEUE_HELP = "requests that wait for a worker; further ones are answered with 450 (default: %(default)s)"
_RATE_LIMIT_HELP = "requests per second of an instance; further ones are answered with 429 (default: no limit)"
_WORKERS_HELP = (
    f"requests that an instance computes at a time (default: {WORKERS}; {LLM_WORKERS} with the processor llm)"
)
_KEEPALIVE_HELP = (
    "seconds after which an unanswered request is answered with 408; 0 for never "
    f"(default: {KEEPALIVE_S:g}; {LLM_KEEPALIVE_S:g} with the processor llm)"
)
_PROCESSING_HELP = "time that a request takes: constant, or a distribution (uniform, exponential, lognormal)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 or :: for all addresses of this machine (default: %(default)s)",
    )
    add("--advertise", default=None, metavar="HOST", help=_ADVERTISE_HELP)
    add(
        "--port",
        type=port,
        default=8780,
        help="port of control plane and admin API; 0 for any that is free (default: %(default)s)",
    )
    add("--instance-port", type=port, default=0, metavar="N", help=_INSTANCE_PORT_HELP)
    add("--service", type=_service, action="append", metavar="NAME=INSTANCES", help="a service; may be repeated")
    add(
        "--queue-service",
        action="append",
        default=[],
        metavar="NAME",
        help="serve this --service through an input queue and a sink (asynchronous inference); may be repeated",
    )
    add("--weight", type=_weights, default=(), metavar="W,W,…", help="weight of each instance of a service")
    add("--token", default=None, help="token of the services; random if not given, empty for none")
    add("--processor", default="", metavar="echo|mnist|llm|MODULE:CALLABLE", help="processor of the instances")
    add(
        "--processor-path",
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder with MODULE, searched after installed packages; may be repeated (default: the current folder)",
    )
    add("--workers", type=int, default=None, metavar="N", help=_WORKERS_HELP)
    add("--queue", type=int, default=QUEUE, metavar="N", help=_QUEUE_HELP)
    add("--processing", type=_duration, default=Duration(), metavar="S|lognormal:MEDIAN,P99", help=_PROCESSING_HELP)
    add("--keepalive", type=float, default=None, metavar="S", help=_KEEPALIVE_HELP)
    add("--rate-limit", type=float, default=None, metavar="N", help=_RATE_LIMIT_HELP)
    add("--gateway", choices=GATEWAY_MODES, default="fail", help=_GATEWAY_HELP)
    add(
        "--zones",
        type=_names,
        default=(),
        metavar="A,B,…",
        help="availability zones, to which the instances are assigned in turn",
    )
    add("--spread-ips", action="store_true", help="give each instance its own address, with port 50000 (Linux)")
    add(
        "--scenario",
        type=Path,
        default=None,
        metavar="FILE.toml|NAME",
        help="scenario file, or the name of a built-in scenario",
    )
    add("--replay", type=Path, default=None, metavar="FILE.toml", help="recording whose responses are used as answers")
    add("--seed", type=int, default=None, help="seed of all random draws")
    add(
        "--ready-file",
        type=Path,
        default=None,
        metavar="PATH",
        help="file to which the addresses are written when everything listens; it must be new, empty or stale",
    )
    add("--until-eof", action="store_true", help="end when standard input is closed, as when the parent process ends")
    add(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="format of the log (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    if options.until_eof and sys.stdin is None:
        options.parser.error("argument --until-eof: there is no standard input")
    try:
        story = scenario.read(options.scenario) if options.scenario else scenario.Scenario()
    except scenario.ScenarioError as error:
        return say(error, BAD_SCENARIO)
    SEARCH_PATH.extend(options.processor_path or [os.getcwd()])  # noqa: PTH109  an entry of sys.path is a string
    token_is_ours = options.token is None
    token = secrets.token_hex(16) if token_is_ours else options.token
    try:
        services = _told(story.services, options.token or "") or _specs(options, token)
        for spec in services:
            find(spec.processor, spec.name)
        options.advertise = check_advertise(story.advertise if options.advertise is None else options.advertise)
    except (SpecError, ProcessorError) as error:
        options.parser.error(str(error))
    if options.spread_ips and (options.advertise or options.instance_port):
        options.parser.error("argument --spread-ips: not allowed with --advertise or --instance-port")
    try:
        stubs = read_recording(options.replay) if options.replay else []
    except StubError as error:
        return say(error, BAD_SCENARIO)
    seed = next(seed for seed in (options.seed, story.seed, random.SystemRandom().randrange(2**32)) if seed is not None)
    # Imported here, so that a wrong command line is reported before Twisted is imported.
    from simulator.serving import serve  # noqa: PLC0415

    def prepare(world: Simulator) -> None:
        for stub in stubs:
            next(iter(world.services.values())).stubs.add(stub)

    return serve(
        options,
        services,
        story.timeline,
        seed=seed,
        show_token=token_is_ours and not story.services,
        prepare=prepare,
    )


def _told(services: Sequence[ServiceSpec], token: str) -> tuple[ServiceSpec, ...]:
    """Return a scenario's services; those without a token get the token of the command line."""
    return tuple(evolve(spec, token=spec.token or token) for spec in services)


def _specs(options: argparse.Namespace, token: str) -> tuple[ServiceSpec, ...]:
    named = options.service or [("mnist_saved_model_example", 3)]
    unknown = [name for name in options.queue_service if name not in dict(named)]
    if unknown:
        raise SpecError(f"argument --queue-service: no service {unknown[0]}; name it with --service {unknown[0]}=N")
    largest, most = max(named, key=lambda service: service[1])
    if options.weight and len(options.weight) != most:
        noun = "weight" if len(options.weight) == 1 else "weights"
        raise SpecError(f"argument --weight: {len(options.weight)} {noun} for the {most} instances of {largest}")
    given = {"workers": options.workers, "keepalive_s": options.keepalive}
    given = {name: value for name, value in given.items() if value is not None}
    return tuple(
        ServiceSpec(
            name,
            count,
            options.weight[:count],
            token,
            options.processor,
            **given,
            queue=options.queue,
            processing=options.processing,
            rate_limit=options.rate_limit,
            zones=options.zones,
            gateway=options.gateway,
            queue_service=name in options.queue_service,
        )
        for name, count in named
    )


def port(text: str) -> int:
    """Parse a port number; 0 selects any free port."""
    if text.isascii() and text.isdigit() and int(text) < 2**16:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, got {text!r}")


def _service(text: str) -> tuple[str, int]:
    name, _, count = text.rpartition("=")
    if name and count.isascii() and count.isdigit():
        return name, int(count)
    raise argparse.ArgumentTypeError(f"must look like NAME=INSTANCES, such as echo=3, got {text!r}")


def _duration(text: str) -> Duration:
    try:
        return Duration.parse(text)
    except DurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _weights(text: str) -> tuple[float, ...]:
    try:
        weights = tuple(float(part) if "." in part else int(part) for part in text.split(","))
    except ValueError:
        weights = (-1,)
    if all(0 <= weight < 2**31 for weight in weights):
        return weights
    raise argparse.ArgumentTypeError(f"must be numbers ≥ 0 with commas, such as 10,10,20, got {text!r}")
