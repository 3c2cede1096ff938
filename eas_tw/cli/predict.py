"""`eas-tw predict`: one call, its body from an argument, a file, stdin or tensors, its answer for people or scripts."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eas_tw import BodyError, ConfigError, TFRequest

if TYPE_CHECKING:
    import argparse

    from eas_tw.cli.settings import Given

HELP = "call a service once"
DESCRIPTION = "Call a service once and print its answer. Without BODY, --file or --tensor the body comes from stdin."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command's flags."""
    add_request_arguments(parser)
    parser.add_argument(
        "--output", choices=("pretty", "raw", "json"), default="pretty", help="raw is the answer's bytes"
    )


def add_request_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags that say what is sent."""
    add = parser.add_argument
    add("body", nargs="?", metavar="BODY", help="text to send as it is, such as JSON; - for stdin")
    add("--file", type=Path, metavar="PATH", help="send this file's bytes")
    add("--json", action="store_true", help="check that the body is JSON before it is sent")
    add(
        "--tensor", action="append", default=[], metavar="NAME=FILE", help=".npy or .csv as an input; makes a TFRequest"
    )
    add("--signature", default="", metavar="NAME", help="of the TFRequest's model")
    add("--fetch", action="append", default=[], metavar="NAME", help="an output to ask for; all by default")
    add("--path", default="", help="below the service's path")
    add("--query", default="", help="encoded, such as a=1&b=2")
    add("--header", action="append", default=[], metavar="NAME: VALUE", help="of the request; may be repeated")


def prepare(options: argparse.Namespace) -> Any:
    """The request; read before anything is connected."""
    if sum((options.body is not None, options.file is not None, bool(options.tensor))) > 1:
        raise ConfigError("give one of BODY, --file and --tensor")
    if options.tensor:
        return _tensor_request(options)
    if options.signature or options.fetch:
        raise ConfigError("--signature and --fetch belong to --tensor")
    body = _body(options)
    if options.json:
        try:
            json.loads(body)
        except ValueError as error:
            raise BodyError(f"the body is not JSON: {error}") from None
    return body


async def run(reactor: Any, given: Given, options: argparse.Namespace, request: Any) -> None:
    """Call, and print."""
    async with given.make_client(reactor) as client:
        response = await client.predict(request, **details(options))
        instances = [instance.address for instance in client.instances]
    _show(response, options.output, instances)


def details(options: argparse.Namespace) -> dict[str, Any]:
    """What a call takes beside its request."""
    return {"path": options.path, "query": options.query, "headers": dict(map(_header, options.header))}


def _body(options: argparse.Namespace) -> bytes:
    if options.file is not None:
        content: bytes = options.file.read_bytes()
        return content
    if options.body in (None, "-"):
        if sys.stdin is None:  # closed before we began
            raise ConfigError("no body: give BODY, --file or --tensor; stdin is closed")
        return sys.stdin.buffer.read()
    return os.fsencode(options.body)  # the bytes that were typed, whatever the locale makes of them


def _header(text: str) -> tuple[str, str]:
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
    """A .npy file as it is, or a .csv file as float32, `[rows, columns]`."""
    try:
        import numpy as np  # noqa: PLC0415  only tensors need it
    except ImportError:
        raise ConfigError("--tensor needs numpy: pip install 'eas-tw[cli]'") from None
    if file.suffix not in (".npy", ".csv"):
        raise ConfigError(f"--tensor takes .npy and .csv files, got {str(file)!r}")
    try:
        with file.open("rb") as content, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file without numbers, which is told below
            if file.suffix == ".npy":
                return np.lib.format.read_array(content, allow_pickle=False)
            found = np.loadtxt(content, delimiter=",", dtype=np.float32, ndmin=2, encoding="utf-8")
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


def _show(response: Any, output: str, instances: list[str]) -> None:
    content = bytes(response.content) if output == "raw" else b""
    if output == "raw":
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    elif hasattr(response, "output_names"):
        _show_tensors(response, output)
    else:
        _show_text(response, output, instances)


def _show_text(response: Any, output: str, instances: list[str]) -> None:
    text = str(response)
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if output == "json":
        print(json.dumps({"response": value, "instances": instances}, ensure_ascii=False))
    else:
        print(text if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


def _show_tensors(response: Any, output: str) -> None:
    names = response.output_names
    outputs = {
        name: {"shape": response.get_tensor_shape(name), "values": list(map(_plain, response.get_values(name)))}
        for name in (names() if callable(names) else names)
    }
    if output == "json":
        print(json.dumps({"outputs": outputs}, ensure_ascii=False))
        return
    for name, tensor in outputs.items():
        print(f"{name} {tensor['shape']}")
        for row in _rows(tensor["values"], tensor["shape"][-1] if tensor["shape"] else 1):
            print("  " + " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in row))


def _rows(values: list[Any], width: int) -> list[list[Any]]:
    return [values[at : at + width] for at in range(0, len(values), max(1, width))]


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
