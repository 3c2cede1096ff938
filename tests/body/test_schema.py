"""The compiled descriptors: they are those of the sources, and private."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

from eas_tw import TFRequest
from eas_tw.body import schema
from eas_tw.body.dtypes import DTYPES, UNCARRIED


def test_the_compiled_descriptors_are_those_of_the_sources() -> None:
    """`python -m eas_tw.body.schema.compile` was run after the last change."""
    pytest.importorskip("grpc_tools")
    from eas_tw.body.schema.compile import compile_protos  # noqa: PLC0415 - only where grpcio-tools is

    assert Path(schema.__file__).with_name(schema.DESCRIPTORS).read_bytes() == compile_protos()


def test_the_pool_is_private() -> None:
    """The official SDK's messages, or TensorFlow's, can be in the default pool beside ours."""
    schema.message("eas_tw.tf.PredictRequest")
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("eas_tw.tf.PredictRequest")


def test_a_message_class_is_one_class() -> None:
    """Asked for twice, and as the type of another's field."""
    array = schema.message("eas_tw.tf.ArrayProto")
    assert array is schema.message("eas_tw.tf.ArrayProto")
    assert type(schema.message("eas_tw.tf.PredictRequest")().inputs["x"]) is array


def test_an_unknown_message_is_a_key_error() -> None:
    """Its name is in it."""
    with pytest.raises(KeyError, match="Nothing"):
        schema.message("eas_tw.tf.Nothing")


def test_the_table_of_dtypes_is_the_schemas() -> None:
    """Names, numbers and fields; and the constants of TFRequest are all of them."""
    array = schema.message("eas_tw.tf.ArrayProto").DESCRIPTOR
    numbers = {value.name: value.number for value in array.fields_by_name["dtype"].enum_type.values}
    ours = {dtype.name: dtype.number for dtype in DTYPES.values()} | {name: n for n, name in UNCARRIED.items()}
    assert ours == numbers
    assert {dtype.field for dtype in DTYPES.values()} <= set(array.fields_by_name)
    constants = {name: value for name, value in vars(TFRequest).items() if name.startswith("DT_")}
    assert constants == {name: number for name, number in numbers.items() if number}


def test_protobuf_is_loaded_by_the_first_body_that_needs_it() -> None:
    """A program that sends text, or floats, does without."""
    program = (
        "import sys; from eas_tw.body.tf import TFRequest; request = TFRequest();"
        "request.add_feed('x', None, 1, [1.5]); request.to_string();"
        "sys.exit(any(name.startswith('google.protobuf') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0  # noqa: S603
