"""TorchRec requests and responses: typed features of user, context and items; tensors in the response.

The schema is `torchrec_predict.proto`.
"""

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
    """A request to score a list of items for one user, with typed features.

    The feature types have the names of the official SDK: `STRING FLOAT DOUBLE INT BIGINT INT64`, `LIST<…>` and
    `ARRAY<…>` of these, `LIST<LIST<…>>`, and `MAP<key,value>`, in upper or lower case. Lists may be arrays or buffers.

    A request may be sent, changed and sent again: each `to_string` makes a new body.
    """

    _package = "eas_tw.torchrec"

    def add_feed(self, data: PBRequest | Buffer, dbg_lvl: int = 0) -> None:
        """Replace the content of this request by a whole message.

        Args:
            data: A `PBRequest` (`eas_tw.body.schema.torchrec_predict_pb2`, or the official SDK's), which is copied, or
                its bytes.
            dbg_lvl: Level of diagnostics to request, 0 for none; it replaces the level in the message.

        Raises:
            BodyError: The data is not such a message, or the level is not a 32-bit integer.
        """
        self._feed(data, dbg_lvl)

    def add_user_fea(self, k: str, value: Any, dtype: str) -> None:
        """Add a user feature; a feature of the same name is replaced.

        Args:
            k: The feature's name.
            value: A value of the type `dtype`.
            dtype: The name of the type, such as `BIGINT`, `LIST<FLOAT>` or `MAP<STRING,INT64>`.

        Raises:
            BodyError: Name, type and value do not fit each other; the message states what is allowed.
        """
        feature = self.add_feat(value, dtype, f"user feature {k!r}")
        self._message.user_features[text(k, "the name of a user feature")].CopyFrom(feature)

    def add_context_fea(self, k: str, value: Any, dtype: str) -> None:
        """Add a context feature; each call with the same name adds the value of the next item.

        Args:
            k: The feature's name.
            value: As for `add_user_fea`.
            dtype: As for `add_user_fea`.

        Raises:
            BodyError: As for `add_user_fea`.
        """
        feature = self.add_feat(value, dtype, f"context feature {k!r}")
        self._message.context_features[text(k, "the name of a context feature")].features.append(feature)

    def add_item_fea(self, k: str, value: Any, dtype: str) -> None:
        """Add an item feature; each call with the same name adds the value of the next item.

        Args:
            k: The feature's name.
            value: As for `add_user_fea`.
            dtype: As for `add_user_fea`.

        Raises:
            BodyError: As for `add_user_fea`.
        """
        feature = self.add_feat(value, dtype, f"item feature {k!r}")
        self._message.item_features[text(k, "the name of an item feature")].features.append(feature)

    def add_feat(self, value: Any, dtype: str, where: str = "a feature") -> PBFeature:
        """Make a feature without adding it.

        Args:
            value: As for `add_user_fea`.
            dtype: As for `add_user_fea`.
            where: Name of the feature in errors.

        Raises:
            BodyError: As for `add_user_fea`.
        """
        feature: PBFeature = schema.message(f"{self._package}.PBFeature")()
        fill(feature, value, dtype, where)
        return feature

    def add_meta_data(self, k: str, value: Any) -> None:
        """Add an entry to the request's `meta_data`; a number is converted to text.

        Raises:
            BodyError: Name or value cannot be converted to text, or is text that UTF-8 cannot encode.
        """
        name = text(k, "the name of a field of meta data")
        self._message.meta_data[name] = spelled(value, f"meta data {k!r}")

    def parse_response(self, content: Buffer) -> TorchRecResponse:
        """Parse the response to this request.

        Raises:
            BodyError: The bytes are not a TorchRec response.
        """
        return TorchRecResponse(content)


class TorchRecResponse(RecResponse):
    """The outputs; the fields of the service's `PBResponse` are attributes, such as `response.item_ids`.

    `get_values`, `get_tensor_shape` and `as_numpy` return the tensors of `map_outputs`.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes.
        message: The `PBResponse`.

    Raises:
        BodyError: The body is not a TorchRec response: it is truncated, or it is HTML, JSON or another kind of body.
    """

    __slots__ = ()
    _kind = "TorchRec"
    _package = "eas_tw.torchrec"
    _layout = TORCH
    _map_field = _MAP_OUTPUTS
    message: PBResponse
