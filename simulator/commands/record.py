"""The `record` command: forward requests to a real service, and record them with their responses for replay."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.commands import USAGE, say
from simulator.commands.serve import port
from simulator.processors import Forward
from simulator.recording import Recorder
from simulator.service_spec import ServiceSpec, SpecError

if TYPE_CHECKING:
    from simulator.simulator import Simulator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("url", type=_forward, metavar="URL", help="URL of the real service, such as http://HOST/api/predict/SERVICE")
    add("output", type=Path, metavar="FILE.toml", help="file to write; must not exist")
    add("--service", default="", metavar="NAME", help="name of the service (default: the last part of URL)")
    add("--token", default=os.environ.get("EAS_TOKEN", ""), help="token of the service (default: $EAS_TOKEN)")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=port, default=8780, help="port to listen on; 0 for any that is free (default: %(default)s)")
    add(
        "--ready-file",
        type=Path,
        default=None,
        metavar="PATH",
        help="file to which the addresses are written when everything listens",
    )
    add("--until-eof", action="store_true", help="end when standard input is closed, as when the parent process ends")
    add("--log-format", choices=("text", "json"), default="text", help="format of the log (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Forward and record requests until SIGINT or SIGTERM."""
    name = options.service or options.url.url.rstrip("/").rpartition("/")[2]
    options.spread_ips, options.advertise, options.instance_port = False, "", 0
    try:
        spec = ServiceSpec(name, 1, (), options.token, options.url, keepalive_s=0, capture_bytes=0)
        recorder = Recorder(options.output)
    except SpecError as error:
        return say(error, USAGE)
    except OSError as error:
        return say(f"cannot write the recording {options.output}: {error.strerror or error}", USAGE)
    # Imported here, so that a wrong command line is reported before Twisted is imported.
    from simulator.serving import serve  # noqa: PLC0415

    def prepare(world: Simulator) -> None:
        world.on_capture.append(recorder.record)

    return serve(options, [spec], seed=0, show_token=False, prepare=prepare)


def _forward(text: str) -> Forward:
    try:
        return Forward(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
