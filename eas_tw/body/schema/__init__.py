"""The protobuf messages of EAS bodies as classes: `message("eas_tw.tf.PredictRequest")`.

The `.proto` files beside this module are compiled to one file, `descriptors.binpb` (see `compile`), which is read on
first use into a private `DescriptorPool`. There are no generated modules, because a generated module does not work with
a protobuf runtime older than its compiler. One descriptor file works with protobuf 3.20 to 7, and a private pool cannot
conflict with the official SDK's messages.

The modules `…_pb2` here have the names of generated modules, and stubs for editors. For example, `from
eas_tw.body.schema.easyrec_predict_pb2 import PBRequest` imports the class that `message` returns.
"""

from __future__ import annotations

import copyreg
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor_pool import DescriptorPool
    from typing_extensions import Buffer

DESCRIPTORS = "descriptors.binpb"


@cache
def message(full_name: str) -> type[Any]:
    """Return the message class with a full name; further calls return the same class.

    Args:
        full_name: Package and name, such as `"eas_tw.tf.PredictResponse"`.

    Returns:
        A message class of the installed protobuf.

    Raises:
        KeyError: No `.proto` file here has that message.
    """
    descriptor = _pool().FindMessageTypeByName(full_name)
    for file in (descriptor.file, *descriptor.file.dependencies):
        _make_picklable(file.name)
    return _class_of(descriptor)


def parse(full_name: str, data: Buffer) -> Any:
    """Parse a message.

    Args:
        full_name: As for `message`.
        data: The serialised message.

    Raises:
        ValueError: The bytes are not such a message.
    """
    try:
        return message(full_name).FromString(bytes(data))
    except Exception as error:  # DecodeError; the pure Python parser may raise any exception
        raise ValueError(f"not protobuf: {error or type(error).__name__}") from error


def exports(module: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a `…_pb2` module: it looks up messages, enums and enum values of a `.proto` file.

    Args:
        module: The module's name, `…_pb2`.
    """
    path = f"{module.replace('.', '/').removesuffix('_pb2')}.proto"

    def find(name: str) -> Any:
        file = None if name.startswith("__") else _pool().FindFileByName(path)
        if file is not None and name == "DESCRIPTOR":
            return file
        if file is not None and name in file.message_types_by_name:
            return message(file.message_types_by_name[name].full_name)
        for enum in file.enum_types_by_name.values() if file is not None else ():
            if enum.name == name:
                return _enum(enum)
            if name in enum.values_by_name:
                return enum.values_by_name[name].number
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


def _enum(descriptor: Any) -> Any:
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper  # noqa: PLC0415 - loaded only when needed

    return EnumTypeWrapper(descriptor)


def _class_of(descriptor: Any) -> type[Any]:
    from google.protobuf import message_factory  # noqa: PLC0415 - a program that sends only strings never loads protobuf

    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return _old_factory().GetPrototype(descriptor)  # type: ignore[no-any-return]  # protobuf before 4.22


@cache
def _make_picklable(file: str) -> None:
    """Make the messages of a file picklable, including nested messages; this takes 10 µs for each class."""
    for descriptor in _pool().FindFileByName(file).message_types_by_name.values():
        copyreg.pickle(_class_of(descriptor), _reduced)


def _reduced(instance: Any) -> tuple[Callable[..., Any], tuple[str, bytes]]:
    """Reduce a message for pickle; by default, pickle would import the class, which is not in a module."""
    return parse, (instance.DESCRIPTOR.full_name, instance.SerializeToString())


@cache
def _pool() -> DescriptorPool:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet  # noqa: PLC0415 - loaded only when needed
    from google.protobuf.descriptor_pool import DescriptorPool  # noqa: PLC0415

    pool = DescriptorPool()
    compiled = resources.files(__name__).joinpath(DESCRIPTORS).read_bytes()
    for file in FileDescriptorSet.FromString(compiled).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def _old_factory() -> Any:
    from google.protobuf.message_factory import MessageFactory  # noqa: PLC0415 - loaded only when needed

    return MessageFactory(_pool())
