"""TorchRec bodies: typed features of user, context and items in, tensors out (`torchrec_predict.proto`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.body import schema
from eas_tw.body.features import fill, spelled, text
from eas_tw.body.layout import TORCH
from eas_tw.body.rec import RecRequest, RecResponse

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from eas_tw.body.schema.torchrec_predict_pb2 import PBFeature, PBRequest, PBResponse

_MAP_OUTPUTS = 1


class TorchRecRequest(RecRequest):
    """Features of a user and the items to score.

    Types of features are named as in the official SDK: `STRING FLOAT DOUBLE INT BIGINT INT64`, `LIST<…>` and `ARRAY<…>`
    of one, `LIST<LIST<…>>`, and `MAP<key,value>`, in either case. Lists may be arrays or buffers.

    A request may be sent, changed and sent again: each `to_string` is a whole new body.
    """

    _package = "eas_tw.torchrec"

    def add_feed(self, data: PBRequest | Buffer, dbg_lvl: int = 0) -> None:
        """Start from a whole message, in place of everything added before.

        Args:
            data: A `PBRequest` (`eas_tw.body.schema.torchrec_predict_pb2`, or the official SDK's), which is copied, or
                its bytes.
            dbg_lvl: Diagnostics to ask for; what the message says of it does not count, as in the official SDK.

        Raises:
            BodyError: It is no such message.
        """
        self._feed(data, dbg_lvl)

    def add_user_fea(self, k: str, value: Any, dtype: str) -> None:
        """Add a feature of the user; the same name again replaces it.

        Args:
            k: Its name.
            value: Of the type `dtype` says.
            dtype: Such as `BIGINT`, `LIST<FLOAT>` or `MAP<STRING,INT64>`.

        Raises:
            BodyError: Name, type and value do not fit; the text says what would.
        """
        feature = self.add_feat(value, dtype, f"user feature {k!r}")
        self._message.user_features[text(k, "the name of a user feature")].CopyFrom(feature)

    def add_context_fea(self, k: str, value: Any, dtype: str) -> None:
        """Add a feature of the context; the same name again adds the next item's value.

        Args:
            k: Its name.
            value: As for `add_user_fea`.
            dtype: The same.

        Raises:
            BodyError: As for `add_user_fea`.
        """
        feature = self.add_feat(value, dtype, f"context feature {k!r}")
        self._message.context_features[text(k, "the name of a context feature")].features.append(feature)

    def add_item_fea(self, k: str, value: Any, dtype: str) -> None:
        """Add a feature of an item; the same name again adds the next item's value.

        Args:
            k: Its name.
            value: As for `add_user_fea`.
            dtype: The same.

        Raises:
            BodyError: As for `add_user_fea`.
        """
        feature = self.add_feat(value, dtype, f"item feature {k!r}")
        self._message.item_features[text(k, "the name of an item feature")].features.append(feature)

    def add_feat(self, value: Any, dtype: str, where: str = "a feature") -> PBFeature:
        """A feature by itself.

        Args:
            value: As for `add_user_fea`.
            dtype: The same.
            where: What errors call it.

        Raises:
            BodyError: As for `add_user_fea`.
        """
        feature: PBFeature = schema.message(f"{self._package}.PBFeature")()
        fill(feature, value, dtype, where)
        return feature

    def add_meta_data(self, k: str, value: Any) -> None:
        """Add a field of the request's meta data; a number is sent as its text.

        Raises:
            BodyError: Name or value is text that UTF-8 cannot carry.
        """
        name = text(k, "the name of a field of meta data")
        self._message.meta_data[name] = spelled(value, f"meta data {k!r}")

    def parse_response(self, content: Buffer) -> TorchRecResponse:
        """The answer to this request.

        Raises:
            BodyError: The bytes are no TorchRec response.
        """
        return TorchRecResponse(content)


class TorchRecResponse(RecResponse):
    """The outputs, as the service's `PBResponse`, whose attributes are this object's: `response.item_ids`.

    The tensors of `map_outputs` can be had by `get_values`, `get_tensor_shape` and `as_numpy`.

    Args:
        content: The body of the response.

    Attributes:
        content: The same, as bytes.
        message: The `PBResponse`.

    Raises:
        BodyError: It is no TorchRec response: cut short, or HTML, JSON or another kind of body.
    """

    __slots__ = ()
    _kind = "TorchRec"
    _package = "eas_tw.torchrec"
    _layout = TORCH
    _map_field = _MAP_OUTPUTS
    message: PBResponse
