"""Recompile the `.proto` files into `descriptors.binpb`: `python -m eas_tw.body.schema.compile`.

It needs grpcio-tools. Run it after changing or adding a `.proto` file and commit both. A test fails when they differ.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from eas_tw.body.schema import DESCRIPTORS

HERE = Path(__file__).parent


def compile_protos() -> bytes:
    """Compile every `.proto` file of this folder, in the order of their names.

    Returns:
        A serialised `FileDescriptorSet`.

    Raises:
        RuntimeError: protoc refused a file; it has said why on standard error.
        ImportError: grpcio-tools is not installed.
    """
    from grpc_tools import protoc  # noqa: PLC0415 - a tool of developers; the package runs without it

    names = sorted(path.name for path in HERE.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / DESCRIPTORS
        status = protoc.main(["protoc", f"-I{HERE}", f"--descriptor_set_out={out}", *names])
        if status:
            raise RuntimeError(f"protoc ended with {status} on {', '.join(names)}")
        return out.read_bytes()


if __name__ == "__main__":
    (HERE / DESCRIPTORS).write_bytes(compile_protos())
