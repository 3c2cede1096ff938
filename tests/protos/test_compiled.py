"""The committed schemas equal the output of protoc. Needs grpcio-tools."""

from __future__ import annotations

from pathlib import Path

from eas_tw.body import schema
from eas_tw.body.schema.compile import compile_protos


def test_descriptors_and_stubs_are_those_of_the_sources() -> None:
    """If this fails, run `python -m eas_tw.body.schema.compile`."""
    compiled = compile_protos()
    here = Path(schema.__file__).parent
    committed = {path.name: path.read_bytes() for path in (here / schema.DESCRIPTORS, *here.glob("*.pyi"))}
    assert sorted(committed) == sorted(compiled)
    for name, content in compiled.items():
        assert committed[name] == content, name
