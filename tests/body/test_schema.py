"""The protobuf message classes: their private descriptor pool, their identity, and their stubs."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

from eas_tw.body import schema
from eas_tw.body.dtypes import DTYPES, UNCARRIED, ArrayDataTypes


def test_the_pool_is_private() -> None:
    """In the default pool, our messages could conflict with those of the official SDK or of TensorFlow."""
    schema.message("eas_tw.tf.PredictRequest")
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("eas_tw.tf.PredictRequest")


def test_a_message_class_is_one_class() -> None:
    array = schema.message("eas_tw.tf.ArrayProto")
    assert array is schema.message("eas_tw.tf.ArrayProto")
    assert type(schema.message("eas_tw.tf.PredictRequest")().inputs["x"]) is array


def test_an_unknown_message_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="Nothing"):
        schema.message("eas_tw.tf.Nothing")


def test_the_table_of_dtypes_is_the_schemas() -> None:
    """Names, numbers and fields agree with the schema, and TFRequest has a constant for each dtype."""
    array = schema.message("eas_tw.tf.ArrayProto").DESCRIPTOR
    numbers = {value.name: value.number for value in array.fields_by_name["dtype"].enum_type.values}
    ours = {dtype.name: dtype.number for dtype in DTYPES.values()} | {name: n for n, name in UNCARRIED.items()}
    assert ours == numbers
    assert {dtype.field for dtype in DTYPES.values()} <= set(array.fields_by_name)
    constants = {name: value for name, value in vars(ArrayDataTypes).items() if name[:3] == "DT_"}
    assert constants == {name: number for name, number in numbers.items() if number}


def test_protobuf_is_loaded_by_the_first_body_that_needs_it() -> None:
    program = (
        "import sys; from eas_tw.body.tf import TFRequest; request = TFRequest();"
        "request.add_feed('x', None, 1, [1.5]); request.to_string();"
        "sys.exit(any(name.startswith('google.protobuf') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0  # noqa: S603


STUBS = sorted(Path(schema.__file__).parent.glob("*.pyi"))


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.stem)
def test_modules_have_the_names_of_their_stubs(stub: Path) -> None:
    module = importlib.import_module(f"{schema.__name__}.{stub.stem}")
    body = ast.parse(stub.read_text("utf-8")).body
    promised = [
        node.target.id for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    assert "DESCRIPTOR" in promised
    for name in promised:
        assert getattr(module, name) is not None
    for node in body:
        if isinstance(node, ast.ClassDef) and "Message" in ast.unparse(node.bases[0]):
            message = getattr(module, node.name)()
            fields = {field.name for field in message.DESCRIPTOR.fields}
            annotated = {part.target.id for part in node.body if isinstance(part, ast.AnnAssign)}  # type: ignore[union-attr]
            assert {name for name in annotated if name.islower()} == fields
        elif isinstance(node, ast.ClassDef):
            assert getattr(module, node.name).Name(0)


def test_an_unknown_name_of_a_module_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"tf_predict_pb2' has no attribute 'PBRequest'"):
        importlib.import_module(f"{schema.__name__}.tf_predict_pb2").PBRequest  # noqa: B018
    with pytest.raises(ImportError):
        from eas_tw.body.schema.blade_pb2 import Nothing  # type: ignore[attr-defined]  # noqa: F401, PLC0415


def test_a_modules_message_is_the_one_class() -> None:
    from eas_tw.body.schema.easyrec_predict_pb2 import PBRequest, StatusCode  # noqa: PLC0415

    assert PBRequest is schema.message("eas_tw.easyrec.PBRequest")
    assert StatusCode.EXCEPTION == 2
    assert StatusCode.Name(1) == "INPUT_EMPTY"


@pytest.mark.parametrize("data", [b"\x08", b"\x07", b"\x12\x05ab", b"<html>"])
def test_bytes_that_are_no_message_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not protobuf"):
        schema.parse("eas_tw.easyrec.PBResponse", data)
