"""Conversion of the features of recommendation requests: a value and the name of its type to a `PBFeature`.

The type names are those of the official SDK, and follow a grammar: a scalar (`STRING FLOAT DOUBLE INT BIGINT INT64`),
`LIST<…>` or `ARRAY<…>` of a scalar, lists of lists, and `MAP<key,value>` of two scalars. The schema's field names
follow the same grammar (`int_list`, `long_float_map`), so no table of fields is needed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from eas_tw.body.content import flatten
from eas_tw.body.dtypes import DTYPES, TEXT, DType
from eas_tw.body.packing import typed
from eas_tw.display import shown
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from eas_tw.body.schema.torchrec_predict_pb2 import PBFeature

_FLOAT, _DOUBLE, _INT, _LONG, _STRING = (DTYPES[number] for number in (1, 2, 3, 9, 7))
#: By the official SDK's name of a scalar type: the type's name in the schema's field names, and its `DType`.
_SCALARS: Mapping[str, tuple[str, DType]] = {
    "STRING": ("string", _STRING),
    "FLOAT": ("float", _FLOAT),
    "DOUBLE": ("double", _DOUBLE),
    "INT": ("int", _INT),
    "BIGINT": ("long", _LONG),
    "INT64": ("long", _LONG),
}
_KEYS = {"STRING", "INT", "BIGINT", "INT64"}
_LIST = re.compile(r"(?:LIST|ARRAY)<(.+)>")
_MAP = re.compile(r"MAP<(\w+),(\w+)>")


def fill(feature: PBFeature, value: Any, dtype: str, where: str) -> None:
    """Set an empty feature.

    Args:
        feature: The message.
        value: A value of the type `dtype`: one element, a list or an array of one dimension, a list of these, or a
            mapping.
        dtype: The name of the type, such as `INT`, `LIST<FLOAT>` or `MAP<STRING,INT64>`, in upper or lower case.
        where: Name of the feature for messages, such as `user feature 'age'`.

    Raises:
        BodyError: There is no such type, or the value does not fit it.
    """
    name = "".join(dtype.upper().split()) if isinstance(dtype, str) else ""
    listed, mapped = _LIST.fullmatch(name), _MAP.fullmatch(name)
    nested = listed and _LIST.fullmatch(listed[1])
    if name in _SCALARS:
        kind, element = _SCALARS[name]
        setattr(feature, f"{kind}_feature", scalar(value, element, where))
    elif nested and nested[1] in _SCALARS:
        _fill_lists(feature, value, *_SCALARS[nested[1]], where)
    elif listed and listed[1] in _SCALARS:
        kind, element = _SCALARS[listed[1]]
        _extend(getattr(feature, f"{kind}_list"), value, element, where)
    elif mapped and mapped[1] in _KEYS and mapped[2] in _SCALARS:
        _fill_map(feature, value, _SCALARS[mapped[1]], _SCALARS[mapped[2]], where)
    else:
        raise BodyError(
            f"{where}: {shown(dtype)} is no type of a feature; use {', '.join(_SCALARS)}, LIST<…> or ARRAY<…> of one, "
            "LIST<LIST<…>>, or MAP<key,value> with keys of STRING, INT, BIGINT or INT64"
        )


def scalar(value: Any, element: DType, where: str) -> Any:
    """Convert one element to a value that protobuf accepts.

    Raises:
        BodyError: The value is not of that type, or out of its range.
    """
    if element.code == TEXT:
        return text(value, where)
    (number,) = typed([value], element, where).tolist()
    return number


def spelled(value: Any, where: str) -> str:
    """Convert a value to text for a text field; numbers and other objects are converted by `str`.

    Raises:
        BodyError: `str` raised an exception, or the text cannot be sent as UTF-8.
    """
    if isinstance(value, str | bytes):
        return text(value, where)
    try:
        return text(str(value), where)
    except BodyError:
        raise
    except Exception as error:  # an integer of more than 4,300 digits, or an object whose __str__ raises
        raise BodyError(f"{where} has no text: {error}") from error


def text(value: Any, where: str) -> str:
    """Return the value of a text field: text after a check, or UTF-8 bytes, which are decoded.

    Raises:
        BodyError: The value is neither text nor bytes, or cannot be sent as UTF-8.
    """
    try:
        found: str = value.decode() if isinstance(value, bytes) else value
        found.encode()
    except (AttributeError, UnicodeError) as error:
        raise BodyError(f"{where} must be text that UTF-8 can carry, got {shown(value)}") from error
    return found


def _extend(message: Any, value: Any, element: DType, where: str) -> None:
    """Append a list of values to the field `features` of a message."""
    message.SetInParent()  # so that an empty list is sent as a list
    if isinstance(value, str | bytes):
        raise BodyError(f"{where}: a list is needed, got {shown(value)}")
    flat = flatten(value, element, None, where)
    if len(flat.shape) != 1:
        raise BodyError(f"{where}: a list of one dimension is needed, got shape {list(flat.shape)}")
    if element.code == TEXT:
        message.features.extend(text(part, f"{where}: element {index}") for index, part in enumerate(flat.as_list()))
    else:
        values = flat.values if isinstance(flat.values, list | tuple | memoryview) else flat.as_list()
        message.features.extend(typed(values, element, where))


def _fill_lists(feature: PBFeature, value: Any, kind: str, element: DType, where: str) -> None:
    lists = getattr(feature, f"{kind}_lists")
    lists.SetInParent()
    for index, row in enumerate(_rows(value, where)):
        _extend(lists.lists.add(), row, element, f"{where}: row {index}")


def _rows(value: Any, where: str) -> Iterable[Any]:
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise BodyError(f"{where}: a list of lists is needed, got {shown(value)}")
    return value  # type: ignore[no-any-return]


def _fill_map(
    feature: PBFeature, value: Any, key: tuple[str, DType], element: tuple[str, DType], where: str
) -> None:  # fmt: skip
    message = getattr(feature, f"{key[0]}_{element[0]}_map")
    message.SetInParent()
    try:
        items = dict(value).items()
    except (TypeError, ValueError) as error:
        raise BodyError(f"{where}: a mapping is needed, got {shown(value)}") from error
    for name, part in items:
        here = f"{where}: key {name!r}"
        message.map_field[_key(name, key[1], here)] = scalar(part, element[1], here)


def _key(name: Any, element: DType, where: str) -> Any:
    """Convert a key of a map; decimal text is accepted for a number, because the keys of a JSON object are text."""
    if element.code != TEXT and isinstance(name, str):
        name = integer(name, where)
    return scalar(name, element, where)


def integer(value: Any, where: str) -> Any:
    """Convert decimal text to an integer; other values are returned unchanged.

    Raises:
        BodyError: The text is not an integer.
    """
    try:
        return int(value) if isinstance(value, str) else value
    except ValueError as error:
        raise BodyError(f"{where}: {shown(value)} is no integer") from error
