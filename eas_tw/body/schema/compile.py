"""Recompile the `.proto` files: `python -m eas_tw.body.schema.compile`.

The results are `descriptors.binpb`, which the package reads, and a stub for each file, for editors and type checkers.
This needs grpcio-tools. Run it after changing or adding a `.proto` file, and commit the results. A test fails when the
committed results differ from the compiled files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from eas_tw.body.schema import DESCRIPTORS

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def compile_protos() -> dict[str, bytes]:
    """Compile every `.proto` file of this folder.

    Returns:
        The contents of the compiled files, by file name: the stubs, and a serialised `FileDescriptorSet` in which each
        file is after the files that it imports.

    Raises:
        RuntimeError: protoc rejected a file. It has printed the reason to standard error.
        ImportError: grpcio-tools is not installed.
    """
    from grpc_tools import protoc  # noqa: PLC0415 - a development tool; the package runs without it

    names = sorted(path.relative_to(ROOT).as_posix() for path in HERE.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / DESCRIPTORS
        options = [f"-I{ROOT}", "--include_imports", f"--descriptor_set_out={out}", f"--pyi_out={folder}"]
        status = protoc.main(["protoc", *options, *names])
        if status:
            raise RuntimeError(f"protoc ended with {status} on {', '.join(names)}")
        return {path.name: path.read_bytes() for path in (out, *sorted(Path(folder).rglob("*.pyi")))}


if __name__ == "__main__":
    for name, content in compile_protos().items():
        (HERE / name).write_bytes(content)
