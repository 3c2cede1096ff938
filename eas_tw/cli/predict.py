"""The command `eas-tw predict`, which makes one call and prints the response.

The body comes from an argument, a file, standard input, or tensors in `.npy` and `.csv` files.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from codecs import BOM_UTF8
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eas_tw import BodyError, ConfigError, TFRequest
from eas_tw.cli import streaming
from eas_tw.cli.files import named, read
from eas_tw.telemetry.events import CallEnded

if TYPE_CHECKING:
    import argparse

    from eas_tw.cli.settings import Given

DESCRIPTION = (
    "Call a service once, and print the response. Without BODY, --file or --tensor, the body is read from stdin."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add_request_arguments(parser)
    parser.add_argument(
        "--output",
        choices=("pretty", "raw", "json"),
        default="pretty",
        help="raw: the bytes of the response; json: one line, with the instance that answered",
    )
    streaming.add_arguments(parser)


def add_request_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that describe the request."""
    add = parser.add_argument
    add_body_arguments(parser)
    add("--json", action="store_true", help="check that the body is JSON, and send it as application/json")
    add(
        "--tensor",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="send a .npy or .csv file as an input of a TFRequest; may be repeated",
    )
    add("--signature", default="", metavar="NAME", help="the signature name of the TFRequest")
    add(
        "--fetch",
        action="append",
        default=[],
        metavar="NAME",
        help="an output to return; may be repeated (default: all)",
    )
    add("--path", default="", help="a path below the service's path")
    add("--query", default="", help="an encoded query, such as a=1&b=2")
    add("--header", action="append", default=[], metavar="NAME: VALUE", help="a header to send; may be repeated")
    add("--key", metavar="KEY", help="the key of the call, such as a user id, for --balancer hash")


def add_body_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the source of the body."""
    parser.add_argument("body", nargs="?", metavar="BODY", help="the text of the body, such as JSON; - for stdin")
    parser.add_argument("--file", type=Path, metavar="PATH", help="send the bytes of this file")


def body_of(options: argparse.Namespace) -> bytes:
    """Read the body, from the argument, a file or standard input. This is done before a connection is opened.

    Raises:
        ConfigError: Two bodies were given, or standard input is closed.
        OSError: A file cannot be read.
    """
    if options.body is not None and options.file is not None:
        raise ConfigError("give one of BODY and --file")
    return _body(options)


def prepare(options: argparse.Namespace) -> Any:
    """Read the request. This is done before a connection is opened.

    Raises:
        ConfigError: The flags contradict each other, or standard input is closed.
        BodyError: The body is not JSON, or a tensor's file is not valid.
        OSError: A file cannot be read.
    """
    if sum((options.body is not None, options.file is not None, bool(options.tensor))) > 1:
        raise ConfigError("give one of BODY, --file and --tensor")
    if options.tensor:
        return _tensor_request(options)
    if options.signature or options.fetch:
        raise ConfigError("--signature and --fetch belong to --tensor")
    body = _body(options)
    return json_body(body, "the body") if options.json else body


def json_body(body: bytes, what: str) -> bytes:
    """Check that a body is JSON in UTF-8, and return it without a byte order mark, which some editors write.

    RFC 8259 §8.1 allows neither another encoding nor a byte order mark.

    Raises:
        BodyError: The body is not JSON in UTF-8.
    """
    body = body.removeprefix(BOM_UTF8)
    try:
        json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BodyError(f"{what} is not JSON: it is not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise BodyError(f"{what} is not JSON: {error}") from None
    return body


async def run(reactor: Any, given: Given, options: argparse.Namespace, request: Any) -> None:
    """Call the service, and print the response."""
    streaming.check(options)
    answered: list[str] = []

    def listener(event: object) -> None:
        if isinstance(event, CallEnded) and event.instance is not None:
            answered.append(event.instance.address)

    async with given.make_client(reactor) as client:
        if streaming.is_wanted(options):
            await streaming.run(reactor, client, options, request, **details(options))
            return
        client.listen(listener)
        response = await client.predict(request, **details(options))
        instances = [instance.address for instance in client.instances]
    _show(response, options.output, {"instance": answered[0] if answered else None, "instances": instances})


def details(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of `predict` for the flags."""
    headers = dict(map(parse_header, options.header))
    if options.json and "content-type" not in map(str.lower, headers):
        headers["Content-Type"] = "application/json"
    return {"path": options.path, "query": options.query, "headers": headers, "key": options.key}


def _body(options: argparse.Namespace) -> bytes:
    if options.file is not None:
        return read(options.file)
    if options.body in (None, "-"):
        if sys.stdin is None:  # standard input was closed before the start (`<&-`)
            raise ConfigError("no body: give BODY, --file or --tensor; stdin is closed")
        return named("standard input", sys.stdin.buffer.read)
    return os.fsencode(options.body)  # restores the original bytes of the argument, independent of the locale


def parse_header(text: str) -> tuple[str, str]:
    """Parse the value of `--header`.

    Raises:
        ConfigError: There is no colon.
    """
    name, colon, value = text.partition(":")
    if not colon:
        raise ConfigError(f'--header must look like "Name: value", got {text!r}')
    return name.strip(), value.strip()


def _tensor_request(options: argparse.Namespace) -> TFRequest:
    request = TFRequest(options.signature)
    for given in options.tensor:
        name, equals, file = given.partition("=")
        if not equals or not name or not file:
            raise ConfigError(f"--tensor must look like NAME=FILE.npy or NAME=FILE.csv, got {given!r}")
        array = _array(Path(file))
        request.add_feed(name, list(array.shape), _dtype(array, file), array)
    for name in options.fetch:
        request.add_fetch(name)
    return request


def _array(file: Path) -> Any:
    """Read a .npy file, or a .csv file as float32 with the shape `[rows, columns]`."""
    try:
        import numpy as np  # noqa: PLC0415  an optional dependency, needed for --tensor only
    except ImportError:
        raise ConfigError("--tensor needs numpy: pip install 'eas-tw[cli]'") from None
    if file.suffix not in (".npy", ".csv"):
        raise ConfigError(f"--tensor takes .npy and .csv files, got {str(file)!r}")
    try:
        with file.open("rb") as content, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns about an empty file; `BodyError` is raised below
            if file.suffix == ".npy":
                return np.lib.format.read_array(content, allow_pickle=False)
            found = np.loadtxt(content, delimiter=",", dtype=np.float32, ndmin=2, encoding="utf-8-sig")
    except ValueError as error:
        raise BodyError(f"{file}: {error}") from None
    if not found.size:
        raise BodyError(f"{file} has no numbers")
    return found


def _dtype(array: Any, file: str) -> int:
    names = {
        "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF", "int8": "DT_INT8", "int16": "DT_INT16",
        "int32": "DT_INT32", "int64": "DT_INT64", "uint8": "DT_UINT8", "uint16": "DT_UINT16", "bool": "DT_BOOL",
    }  # fmt: skip
    dtype = getattr(TFRequest, names.get(array.dtype.name, ""), None)
    if dtype is None:
        raise BodyError(f"{file}: tensors of {array.dtype} cannot be sent; convert them to one of {', '.join(names)}")
    return int(dtype)


def _show(response: Any, output: str, whence: dict[str, Any]) -> None:
    content = bytes(response.content) if output == "raw" else b""
    if output == "raw":
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    elif hasattr(response, "output_names"):
        _show_tensors(response, output, whence)
    else:
        _show_text(response, output, whence)


def _show_text(response: Any, output: str, whence: dict[str, Any]) -> None:
    text = str(response)
    try:
        line = _rendered(json.loads(text), text, output, whence)
    except (ValueError, RecursionError):
        line = _rendered(text, text, output, whence)
    print(line)


def _rendered(value: Any, text: str, output: str, whence: dict[str, Any]) -> str:
    if output == "json":
        return json.dumps({"response": value, **whence}, ensure_ascii=False)
    return text if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _show_tensors(response: Any, output: str, whence: dict[str, Any]) -> None:
    names = response.output_names
    outputs = {
        name: {"shape": response.get_tensor_shape(name), "values": list(map(_plain, response.get_values(name)))}
        for name in (names() if callable(names) else names)
    }
    if output == "json":
        print(json.dumps({"outputs": outputs, **whence}, ensure_ascii=False))
        return
    for name, tensor in outputs.items():
        print(f"{name} {tensor['shape']}")
        for row in _rows(tensor["values"], tensor["shape"][-1] if tensor["shape"] else 1):
            print("  " + " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in row))


def _rows(values: list[Any], width: int) -> list[list[Any]]:
    return [values[at : at + width] for at in range(0, len(values), max(1, width))]


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
