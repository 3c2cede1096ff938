"""Serving until a signal: the reactor, the banner, the ready file, the log.

The one room of the simulator that knows a process: it installs nothing, but runs the global reactor.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import threading
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

from simulator.commands import UNAVAILABLE, USAGE, say
from simulator.processors import find, mnist
from simulator.simulator import Simulator
from simulator.timeline import Timeline

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from simulator.fleet import Service, ServiceSpec
    from simulator.timeline import Step

_LOOPBACK = ("127.", "localhost", "::1")
_STOP_WITHIN_S = 3.0
_END_WITHIN_S = 4.0


def serve(
    options: argparse.Namespace,
    services: Sequence[ServiceSpec],
    steps: Sequence[Step] = (),
    *,
    seed: int,
    show_token: bool,
    prepare: Callable[[Simulator], object] = lambda _: None,
) -> int:
    """Run a simulator until INT or TERM; the exit code.

    Args:
        options: Of the command line.
        services: What to simulate.
        steps: What happens when.
        seed: Of all random choices.
        show_token: Whether the banner may print the token.
        prepare: Called with the simulator before it listens.
    """
    from twisted.internet import reactor  # noqa: PLC0415, TID251  an entry module

    if options.ready_file and (wrong := _why_unwritable(options.ready_file)):
        return say(f"cannot write the ready file {options.ready_file}: {wrong}", USAGE)
    world = Simulator(
        reactor, seed=seed, host=options.host, port=options.port, services=services, spread_ips=options.spread_ips
    )
    _begin_log(options.log_format, world.mask)
    _allow_many_connections()
    prepare(world)
    try:
        world.start()
    except (CannotListenError, OSError) as error:
        return say(f"cannot listen on {options.host}:{options.port}: {_why(error)}", UNAVAILABLE)
    if not options.host.startswith(_LOOPBACK):
        print(f"simulator: WARNING: {options.host} is not loopback; others can reach it", file=sys.stderr)

    def announce() -> None:
        if options.until_eof:
            threading.Thread(target=_end_with_stdin, daemon=True).start()
        print(banner(world, show_token=show_token), flush=True)
        if options.ready_file:
            _write_ready_file(options.ready_file, world)
        print("ready; INT or TERM ends it", flush=True)
        if steps:
            timeline = Timeline(world, steps, lambda step: print(world.mask(f"{step.at_s:7.1f} s  {step}"), flush=True))
            # A reset goes back to the beginning, and so does the story.
            world.on_reset.append(timeline.start)
            timeline.start()

    def cleanup() -> None:
        if options.ready_file:
            options.ready_file.unlink(missing_ok=True)

    try:
        _run_until_signal(reactor, world, announce, cleanup)
    finally:
        cleanup()
    return 0


def banner(world: Simulator, *, show_token: bool) -> str:
    """What is simulated, and lines to copy and paste."""
    lines = [f"EAS simulator at {world.url}   admin {world.admin_url}   seed {world.seed}", ""]
    for service in world.services.values():
        where = ", ".join(f"{i.ip}:{i.port} (weight {i.weight:g})" for i in service.instances.values())
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


def _how_to_call(url: str, service: Service, *, show_token: bool) -> list[str]:
    """For a shell, and for Python's prompt, where a blocking client is the one that can be typed."""
    token = service.token if show_token else "$EAS_TOKEN"
    quote = "'" if show_token else '"'
    header = f" -H {quote}Authorization: {token}{quote}" if service.token else ""
    given = repr(service.token) if show_token or not service.token else 'os.environ["EAS_TOKEN"]'
    is_model = find(service.spec.processor, service.name) is mnist
    body = "--data-binary @images.pb" if is_model else "-d '[1]'"
    curl = f"  curl{header} {body} {url}/api/predict/{service.name}"
    python = [
        "",
        *(["  import os"] if given.startswith("os.") else []),
        "  from eas_tw.blocking import ENDPOINT_TYPE_DIRECT, PredictClient",
        f'  client = PredictClient("{url}", "{service.name}")',
        f"  client.set_token({given})",
        "  client.set_endpoint_type(ENDPOINT_TYPE_DIRECT)",
        "  client.init()",
    ]
    # A tensor is not typed into a shell: Python writes it first.
    if is_model:
        return [*python, *_CALL_MODEL.splitlines()[1:], "", curl]
    return [curl, *python, '  print(client.predict("[1]"))']


def ready(world: Simulator) -> dict[str, Any]:
    """What the ready file says."""
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
                    {"id": i.id, "ip": i.ip, "port": i.port, "weight": i.weight} for i in service.instances.values()
                ],
            }
            for service in world.services.values()
        ],
    }


def _write_ready_file(path: Path, world: Simulator) -> None:
    """Whole, by rename: whoever sees the file can read it."""
    draft = _draft(path)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(ready(world)) + "\n", "utf-8")
    draft.replace(path)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def _why_unwritable(path: Path) -> str:
    """Asked before anything listens: who waits for the file would wait for ever."""
    if path.is_dir():
        return "it is a directory"
    try:
        _draft(path).touch(mode=0o600)
        _draft(path).unlink()
    except OSError as error:
        return _why(error)
    return ""


def _end_with_stdin() -> None:
    """Whoever started us holds the other end; when they are gone, however they went, so are we."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _allow_many_connections() -> None:
    """A connection is a descriptor, and the usual limit of 1,024 is soon reached."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run_until_signal(
    reactor: Any, world: Simulator, announce: Callable[[], None], cleanup: Callable[[], None]
) -> None:
    def stop(*_: Any) -> None:
        if last_resort.ident is None:
            last_resort.start()
        reactor.callFromThread(end)

    def end_now() -> None:
        # A user's processor may block the reactor's thread; then nothing but this ends the process in time.
        cleanup()
        os._exit(0)

    def end() -> None:
        if not ending:
            ending.append(reactor.callLater(_STOP_WITHIN_S, reactor.stop))
            world.stop().addBoth(lambda _: ending[0].active() and (ending[0].cancel(), reactor.stop()))

    def running() -> None:
        # Our own handlers, so that the exit code is 0 and the connections end before the reactor does; in place before
        # anybody is told that there is something to end.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        announce()

    ending: list[Any] = []
    last_resort = threading.Timer(_END_WITHIN_S, end_now)
    last_resort.daemon = True
    reactor.callWhenRunning(running)
    reactor.run()


class _MaskedFile:
    """What a log observer writes to, without tokens."""

    def __init__(self, file: TextIO, mask: Callable[[str], str]) -> None:
        self._file = file
        self._mask = mask
        self.encoding = file.encoding

    def write(self, text: str) -> None:
        """Write, masked."""
        self._file.write(self._mask(text))

    def flush(self) -> None:
        """Write what is buffered."""
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
