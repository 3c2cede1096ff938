"""Errors in OpenAI's format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from simulator.messages import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPE = "invalid_request_error"


class LlmError(Exception):
    """Raised for a rejected request.

    Args:
        message: Description of what is wrong, and of what is expected.
        status: HTTP status.
        param: Name of the invalid parameter; `None` for the request as a whole.
        code: OpenAI's error code; `None` for none.
        headers: Additional header fields.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self._status = status
        self._error = {"message": message, "type": _TYPE, "param": param, "code": code}
        self._headers = headers or {}

    def response(self) -> Response:
        """Build the response."""
        return Response(self._status, json.dumps({"error": self._error}).encode(), "application/json", self._headers)
