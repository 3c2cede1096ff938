"""The protobuf messages of EAS bodies, as classes: `message("eas_tw.tf.PredictRequest")`.

The `.proto` files beside this module are compiled to one file, `descriptors.binpb` (see `compile`), read on first use
into a private `DescriptorPool`. There are no generated modules: those refuse every runtime older than themselves, while
one descriptor file serves protobuf 3.20 to 7, and a private pool cannot meet the official SDK's own messages.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool

DESCRIPTORS = "descriptors.binpb"


@cache
def message(full_name: str) -> type[Any]:
    """The message class of a full name; the same class each time.

    Args:
        full_name: Package and name, such as `"eas_tw.tf.PredictResponse"`.

    Returns:
        An ordinary protobuf message class of whatever protobuf is installed.

    Raises:
        KeyError: No `.proto` file here has that message.
    """
    from google.protobuf import message_factory  # noqa: PLC0415 - a program that sends only strings never loads protobuf

    descriptor = _pool().FindMessageTypeByName(full_name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return _old_factory().GetPrototype(descriptor)  # type: ignore[no-any-return]  # protobuf before 4.22


@cache
def _pool() -> DescriptorPool:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet  # noqa: PLC0415 - as in `message`
    from google.protobuf.descriptor_pool import DescriptorPool  # noqa: PLC0415

    pool = DescriptorPool()
    compiled = resources.files(__name__).joinpath(DESCRIPTORS).read_bytes()
    for file in FileDescriptorSet.FromString(compiled).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def _old_factory() -> Any:
    from google.protobuf.message_factory import MessageFactory  # noqa: PLC0415 - as in `message`

    return MessageFactory(_pool())
