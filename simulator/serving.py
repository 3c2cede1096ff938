"""Serves a simulator until a signal is received, with the banner, the ready file and the log.

Only this module and `simulator.demo` use the global reactor; all other modules get a reactor as an argument.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import sys
from typing import TYPE_CHECKING, Any, TextIO

from twisted.internet.error import CannotListenError
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    jsonFileLogObserver,
    textFileLogObserver,
)

from simulator.advertising import bracketed
from simulator.commands import FAILED, UNAVAILABLE, USAGE, discard_output, say
from simulator.lifetime import Lifetime
from simulator.processors import find, mnist
from simulator.ready_file import ReadyFile, ReadyFileError
from simulator.service_spec import SpecError
from simulator.simulator import Simulator
from simulator.timeline import Timeline

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from simulator.fleet import Service, ServiceSpec
    from simulator.timeline import TimelineStep

_LOOPBACK = ("127.", "localhost", "::1")


def serve(
    options: argparse.Namespace,
    services: Sequence[ServiceSpec],
    steps: Sequence[TimelineStep] = (),
    *,
    seed: int,
    show_token: bool,
    prepare: Callable[[Simulator], object] = lambda _: None,
) -> int:
    """Run a simulator until SIGINT or SIGTERM, and return the exit code.

    Args:
        options: Parsed command line.
        services: Services to simulate.
        steps: Steps of the timeline.
        seed: Seed of all random draws.
        show_token: Whether the banner may print the token.
        prepare: Called with the simulator before it listens.
    """
    from twisted.internet import reactor  # noqa: PLC0415, TID251  an entry module

    nonce = secrets.token_hex(16)
    ready_file = ReadyFile(options.ready_file, nonce) if options.ready_file else None
    try:
        if ready_file is not None:
            ready_file.prepare()
    except ReadyFileError as error:
        return say(error, USAGE)
    try:
        world = Simulator(
            reactor,
            seed=seed,
            host=options.host,
            port=options.port,
            services=services,
            spread_ips=options.spread_ips,
            advertise=options.advertise,
            instance_port=options.instance_port,
        )
    except SpecError as error:
        return say(error, USAGE)
    world.nonce = nonce
    _begin_log(options.log_format, world.mask)
    _allow_many_connections()
    prepare(world)
    try:
        world.start()
    except SpecError as error:
        return say(error, USAGE)
    except (CannotListenError, OSError) as error:
        port = error.port if isinstance(error, CannotListenError) else options.port
        return say(f"cannot listen on {bracketed(options.host)}:{port}: {_why(error)}", UNAVAILABLE)
    if not options.host.startswith(_LOOPBACK):
        print(f"simulator: WARNING: {options.host} is not loopback; other machines can reach it", file=sys.stderr)

    lifetime = Lifetime(reactor, world.stop, ready_file.discard if ready_file else lambda: None)
    return lifetime.run(lambda: _begin(options, world, steps, lifetime, ready_file, show_token=show_token))


def _begin(
    options: argparse.Namespace,
    world: Simulator,
    steps: Sequence[TimelineStep],
    lifetime: Lifetime,
    ready_file: ReadyFile | None,
    *,
    show_token: bool,
) -> None:
    """Report that the simulator listens, and start the timeline; a failure ends the process."""
    teller = _Teller(lifetime)
    if options.until_eof:
        lifetime.end_with_stdin()
    if not teller.tell(banner(world, show_token=show_token)):
        return
    try:
        if ready_file is not None:
            ready_file.publish(ready(world))
    except ReadyFileError as error:
        lifetime.end(say(error, FAILED))
        return
    teller.is_ready = teller.tell("ready; INT or TERM ends it")
    if teller.is_ready and steps:
        timeline = Timeline(world, steps, lambda step: teller.tell(world.mask(f"{step.at_s:7.1f} s  {step}")))
        # A reset returns to the initial state, so the timeline starts again.
        world.on_reset.append(timeline.start)
        timeline.start()


class _Teller:
    """Prints lines. A failure ends the process, because ports and events can no longer be reported.

    Attributes:
        is_ready: Whether the banner has been printed. A pipe that is closed afterwards is not an error.
    """

    def __init__(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime
        self.is_ready = False

    def tell(self, line: str) -> bool:
        """Print and flush a line; return whether this succeeded."""
        try:
            print(line, flush=True)
        except OSError as error:
            discard_output()
            is_quiet = self.is_ready and isinstance(error, BrokenPipeError)
            why = f"cannot write to standard output: {error.strerror}"
            self._lifetime.end(0 if is_quiet else say(why, FAILED))
            return False
        return True


def banner(world: Simulator, *, show_token: bool) -> str:
    """Format the banner: the simulated services, and lines to copy and paste."""
    lines = [f"EAS simulator at {world.url}   admin {world.admin_url}   seed {world.seed}", ""]
    for service in world.services.values():
        instances = service.instances.values()
        where = ", ".join(f"{bracketed(world.ip_to(i.ip))}:{i.port} (weight {i.weight:g})" for i in instances)
        lines.append(f"  {service.name}: {where or 'no instances'}")
    service = next(iter(world.services.values()))
    lines += [
        "",
        f"  open {world.admin_url}/ in a browser",
        f"  curl {world.url}/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/{service.name}",
        *_how_to_call(world.url, service, show_token=show_token),
        "",
    ]
    return "\n".join(lines)


_CALL_MODEL = """
  from eas_tw import TFRequest
  request = TFRequest("predict_images")
  request.add_feed("images", [1, 784], TFRequest.DT_FLOAT, [1] * 784)
  print(client.predict(request).get_values("scores"))
  _ = open("images.pb", "wb").write(request.to_string())
"""

_FIRST = "  # first: export EAS_TOKEN=… with the service's token, which you gave and which is not printed here"


_GET = "_timeout_=5s&_raw_=true&_auto_delete_=true"


def _how_to_call(url: str, service: Service, *, show_token: bool) -> list[str]:
    """Format example calls for a shell and, with the blocking client, for Python's prompt."""
    header = ' -H "Authorization: $EAS_TOKEN"' if service.token else ""
    variable = [f"  export EAS_TOKEN={service.token}"] if show_token else [_FIRST]
    given = repr(service.token) if show_token or not service.token else 'os.environ["EAS_TOKEN"]'
    if service.queues is not None:
        call = f"  curl{header}"
        put = f"{call} -d '[1]' {url}/api/predict/{service.name}"
        return [*(variable if service.token else []), put, f"{call} '{url}/api/predict/{service.name}/sink?{_GET}'"]
    is_model = find(service.spec.processor, service.name) is mnist
    body = "--data-binary @images.pb" if is_model else "-d '[1]'"
    curl = [*(variable if service.token else []), f"  curl{header} {body} {url}/api/predict/{service.name}"]
    python = [
        "",
        *(["  import os"] if given.startswith("os.") else []),
        "  from eas_tw.blocking import ENDPOINT_TYPE_DIRECT, PredictClient",
        f'  client = PredictClient("{url}", "{service.name}")',
        f"  client.set_token({given})",
        "  client.set_endpoint_type(ENDPOINT_TYPE_DIRECT)",
        "  client.init()",
    ]
    # A tensor cannot be typed into a shell, so Python writes the request first.
    if is_model:
        return [*python, *_CALL_MODEL.splitlines()[1:], "", *curl]
    return [*curl, *python, '  print(client.predict("[1]"))']


def ready(world: Simulator) -> dict[str, Any]:
    """Return the content of the ready file."""
    return {
        "pid": os.getpid(),
        "url": world.url,
        "admin_url": world.admin_url,
        "seed": world.seed,
        "services": [
            {
                "name": service.name,
                "token": service.token,
                "instances": [
                    {"id": i.id, "ip": world.ip_to(i.ip), "port": i.port, "weight": i.weight}
                    for i in service.instances.values()
                ],
            }
            for service in world.services.values()
        ],
    }


def _allow_many_connections() -> None:
    """Raise the limit on open files: each connection needs a descriptor, and the usual limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _MaskedFile:
    """The file of a log observer, which masks tokens in the written text."""

    def __init__(self, file: TextIO, mask: Callable[[str], str]) -> None:
        self._file = file
        self._mask = mask
        self.encoding = file.encoding

    def write(self, text: str) -> None:
        """Write a text with its tokens masked."""
        self._file.write(self._mask(text))

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()


def _begin_log(log_format: str, mask: Callable[[str], str]) -> None:
    file: Any = _MaskedFile(sys.stderr, mask)
    observer = (jsonFileLogObserver if log_format == "json" else textFileLogObserver)(file)
    quiet = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    quiet.setLogLevelForNamespace("simulator", LogLevel.info)
    globalLogBeginner.beginLoggingTo([FilteringLogObserver(observer, [quiet])], redirectStandardIO=False)


def _why(error: Exception) -> str:
    inner = getattr(error, "socketError", error)
    return getattr(inner, "strerror", None) or str(inner)
