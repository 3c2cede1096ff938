"""The main function of `eas-tw`, which runs a command on the reactor and maps its result to an exit code.

Each command has its own module, which is imported only if the command is used: the import of all takes a quarter of a
second. A module has `DESCRIPTION`, `add_arguments(parser)` and, unless the command needs no service, `prepare(options)`
and the coroutine function `run(reactor, given, options, prepared)`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import sys
import time  # noqa: TID251  the reactor is chosen here
from importlib import import_module
from typing import TYPE_CHECKING, Any

from eas_tw import BodyError, ConfigError, DeadlineExceeded, EasError, StatusError
from eas_tw.argument_parser import ArgumentParser
from eas_tw.bulk.errors import CannotWrite
from eas_tw.bulk.report import TooManyErrors
from eas_tw.cli import completion, settings
from eas_tw.cli.output import flush_output, replace_closed_streams
from eas_tw.cli.perf.limits import PerfFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

PERF_FAILED = 1
USAGE = 2
# The codes of sysexits.h: EX_DATAERR, EX_NOINPUT, EX_UNAVAILABLE, EX_IOERR, EX_TEMPFAIL, EX_PROTOCOL, EX_NOPERM.
BAD_DATA, NO_INPUT, UNAVAILABLE, CANNOT_WRITE = 65, 66, 69, 74
TOO_LATE, BAD_STATUS, NO_PERMISSION = 75, 76, 77
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
COMMANDS = {
    # command: (its module, its description in the list of commands)
    "predict": ("eas_tw.cli.predict", "call a service once"),
    "score": ("eas_tw.cli.score", "score the rows of a file"),
    "discover": ("eas_tw.cli.discover", "list a service's instances"),
    "perf": ("eas_tw.cli.perf.command", "measure a service under load"),
    "queue": ("eas_tw.cli.queue", "put into, get from and watch a queue service"),
    "completion": ("eas_tw.cli.completion", "print a completion script"),
    "perf compare": ("eas_tw.cli.perf.compare", "compare two results of perf"),
}
_WITHOUT_SERVICE = ("completion", "perf compare")
_REFUSALS = (401, 403)
_OF_ALL = ("-h", "--help", "--version")
"""Options that are allowed without a command."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OF_OUTPUT = (errno.EPIPE, errno.EIO, *_NO_SPACE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The arguments of the command line; `None` for `sys.argv[1:]`.

    Returns:
        The exit code.
    """
    replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a response may have characters outside the terminal's encoding
    try:
        try:
            return _main(arguments)
        finally:  # also after `--help` and `--version`, which raise SystemExit
            flush_output()
    except BrokenPipeError:
        return 0  # the reader, such as `head`, has closed the pipe, which is not an error
    except OSError as error:
        return _say(f"cannot write to standard output: {error.strerror}", CANNOT_WRITE)


def _main(arguments: Sequence[str] | None) -> int:
    words = _joined(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(words[0] if words else "")
    if words and words[0].startswith("-") and words[0] not in _OF_ALL:
        parser.error(f"options come after the command: eas-tw COMMAND {words[0]} …")
    options = parser.parse_args(words)
    if "shell" in options:
        completion.show(_parser(), options.shell)
        return 0
    try:
        return _run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if isinstance(error, EasError):
            return _say(error, _code(error))
        if error.filename is None and error.errno in _OF_OUTPUT:
            raise
        is_output = isinstance(error, CannotWrite) or error.errno in _NO_SPACE
        code = CANNOT_WRITE if is_output else NO_INPUT
        return _say(f"{error.filename}: {error.strerror}" if error.filename else error, code)
    except EasError as error:
        return _say(error, _code(error))


def _joined(arguments: Sequence[str]) -> list[str]:
    """Join `perf compare` to one argument, because `perf` itself has a positional argument, the body."""
    first, *rest = arguments or [""]
    return ["perf compare", *rest[1:]] if (first, *rest[:1]) == ("perf", "compare") else list(arguments)


def _run(options: argparse.Namespace) -> int:
    """Read the settings and the input, and run the command's coroutine on the global reactor."""
    if "prepare" not in options:  # `perf compare`
        options.run(options)
        return 0
    given = settings.read(options)
    prepared = options.prepare(options)
    # Imported after the checks, so that a usage error is reported without the time of importing the reactor.
    from twisted.internet import reactor, task  # noqa: PLC0415, TID251  an entry module
    from twisted.internet.defer import Deferred  # noqa: PLC0415

    # Only this command uses the reactor, so its timers may use monotonic time, which is not affected by clock changes.
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    if options.verbose:
        _log_to_stderr()
    ended: list[Any] = []
    interrupted: list[bool] = []
    # Record an interrupt: the shutdown closes the connections, and then the command fails with a connection error.
    reactor.addSystemEventTrigger("before", "shutdown", lambda: interrupted.append(not ended))

    def begin(_: object) -> Deferred[None]:
        running = Deferred.fromCoroutine(options.run(reactor, given, options, prepared))
        return running.addBoth(ended.append)

    with contextlib.suppress(SystemExit):  # `react` exits with 0 or 1; this command has more exit codes
        task.react(begin, (), reactor)
    if not ended or any(interrupted):
        return INTERRUPTED
    error = getattr(ended[0], "value", None)
    if error is None:
        return 0
    if isinstance(error, StatusError) and error.status in _REFUSALS:
        error.args = (f"{error}; {given.token_advice}",)
    if type(error).__name__ == "CancelledError":
        return INTERRUPTED
    raise error


class _Version(argparse.Action):
    """An action that prints the version; it reads the package's metadata only when used, because reading it is slow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415  40 ms

        print(f"eas-tw {version('eas-tw')}")
        parser.exit()


def _parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser with the arguments of one command, or of all commands for `None`."""
    parser = ArgumentParser(
        prog="eas-tw",
        description="Call PAI-EAS services over the VPC direct connection.",
        epilog="Each setting is taken from its flag, else from its EAS_… environment variable, else from the profile. "
        "The token is read from EAS_TOKEN, --token-file or the profile's token_file, and is never printed.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, says) in COMMANDS.items():
        command = commands.add_parser(name, help=says, allow_abbrev=False)
        if chosen in (name, None):
            _add_arguments(name, import_module(module), command)
    return parser


def _add_arguments(name: str, module: Any, parser: argparse.ArgumentParser) -> None:
    parser.description = module.DESCRIPTION
    if name == "queue":
        for action in module.add_actions(parser.add_subparsers(required=True, metavar="ACTION")):
            settings.add_arguments(action)
        return
    module.add_arguments(parser)
    if name not in _WITHOUT_SERVICE:
        settings.add_arguments(parser)
        parser.set_defaults(run=module.run, prepare=module.prepare)
    elif name != "completion":
        parser.set_defaults(run=module.run)


def _log_to_stderr() -> None:
    from twisted.logger import globalLogBeginner, textFileLogObserver  # noqa: PLC0415

    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)


def _say(error: object, code: int) -> int:
    with contextlib.suppress(OSError):  # standard error may be closed, too
        print(f"eas-tw: {error}", file=sys.stderr, flush=True)
    return code


def _code(error: EasError) -> int:
    if isinstance(error, PerfFailed):
        return PERF_FAILED
    if isinstance(error, ConfigError):
        return USAGE
    if isinstance(error, (BodyError, TooManyErrors)):
        return BAD_DATA
    if isinstance(error, StatusError):
        return NO_PERMISSION if error.status in _REFUSALS else BAD_STATUS
    return TOO_LATE if isinstance(error, DeadlineExceeded) else UNAVAILABLE
