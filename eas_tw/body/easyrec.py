"""EasyRec requests and responses: features of a user, ids of items, and their scores (`easyrec_predict.proto`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.body.content import refuse_masked
from eas_tw.body.dtypes import DTYPES
from eas_tw.body.features import integer, scalar, spelled, text
from eas_tw.body.layout import TF
from eas_tw.body.rec import RecRequest, RecResponse
from eas_tw.display import shown
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from eas_tw.body.schema.easyrec_predict_pb2 import PBRequest, PBResponse

_FLOAT, _INT = DTYPES[1], DTYPES[3]
_TF_OUTPUTS = 10


class EasyRecRequest(RecRequest):
    """A request to score a list of items for one user.

    A request may be sent, changed and sent again: each `to_string` makes a new body.

    Args:
        signature_name: Accepted for compatibility with the official SDK; not part of the body.
        fg_mode: Accepted for compatibility with the official SDK; not part of the body. The service's configuration
            determines where features are generated.
    """

    _package = "eas_tw.easyrec"

    def __init__(self, signature_name: str | None = None, fg_mode: str = "normal") -> None:
        super().__init__()
        self.signature_name = signature_name
        self.fg_mode = fg_mode

    def set_signature_name(self, signature_name: str | None) -> None:
        """Store the name of a signature; it is not part of the body."""
        self.signature_name = signature_name

    def add_feed(self, data: PBRequest | Buffer, debug_level: int = 0) -> None:
        """Replace the content of this request by a whole message.

        Args:
            data: A `PBRequest` (`eas_tw.body.schema.easyrec_predict_pb2`, or the official SDK's), which is copied, or
                its bytes.
            debug_level: Level of diagnostics to request, 0 for none; it replaces the level in the message, as in
                the official SDK.

        Raises:
            BodyError: The data is not such a message, or the level is not a 32-bit integer.
        """
        self._feed(data, debug_level)

    def add_user_fea_flt(self, k: str, v: float) -> None:
        """Add a user feature of type 32-bit float; a feature of the same name is replaced.

        Raises:
            BodyError: The name or the value is invalid.
        """
        where = f"user feature {k!r}"
        refuse_masked(v, where)
        try:
            value = float(v)
        except (TypeError, ValueError, OverflowError) as error:
            raise BodyError(f"{where} must be a number, got {shown(v)}") from error
        self._user_feature(k).float_feature = scalar(value, _FLOAT, where)

    def add_user_fea_int(self, k: str, v: int | str) -> None:
        """Add a user feature of type int32; decimal text is converted. A feature of the same name is replaced.

        Raises:
            BodyError: The name or the value is invalid.
        """
        where = f"user feature {k!r}"
        value = scalar(integer(v, where), _INT, where)
        self._user_feature(k).int_feature = value

    def add_user_fea_str(self, k: str, v: Any) -> None:
        """Add a user feature of type text; a number is converted. A feature of the same name is replaced.

        Raises:
            BodyError: The name or the value is invalid.
        """
        value = spelled(v, f"user feature {k!r}")
        self._user_feature(k).string_feature = value

    def keep_one_item_ids(self) -> None:
        """Remove all item ids except the first.

        Raises:
            BodyError: There are no item ids.
        """
        if not self._message.item_ids:
            raise BodyError("there are no item ids to keep one of; add_feed or add_item_id gives some")
        del self._message.item_ids[1:]

    def parse_response(self, content: Buffer) -> EasyRecResponse:
        """Parse the response to this request.

        Raises:
            BodyError: The bytes are not an EasyRec response.
        """
        return EasyRecResponse(content)

    def _user_feature(self, k: str) -> Any:
        return self._message.user_features[text(k, "the name of a user feature")]


class EasyRecResponse(RecResponse):
    """The scores; the fields of the service's `PBResponse` are attributes, such as `response.results["i1"].scores`.

    `get_values`, `get_tensor_shape` and `as_numpy` return the tensors of `tf_outputs`.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes.
        message: The `PBResponse`.

    Raises:
        BodyError: The body is not an EasyRec response: it is truncated, or it is HTML, JSON or another kind of body.
    """

    __slots__ = ()
    _kind = "EasyRec"
    _package = "eas_tw.easyrec"
    _layout = TF
    _map_field = _TF_OUTPUTS
    message: PBResponse
