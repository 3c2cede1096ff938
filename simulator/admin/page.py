"""The dashboard: one HTML file, and a content security policy that allows only the file's inline style and script."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from simulator.http1 import Response

_MEDIA = "text/html; charset=utf-8"


@cache
def response() -> Response:
    """Return the page as a response."""
    html = files("simulator.admin").joinpath("page.html").read_bytes()
    return Response(
        200,
        html,
        _MEDIA,
        {
            "Content-Security-Policy": policy(html),
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
    )


def policy(html: bytes) -> str:
    """Build the Content-Security-Policy: inline style and script, images in `data:` URLs, requests to this origin."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hashes(html, b'script')}",
            f"style-src {_hashes(html, b'style')}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _hashes(html: bytes, element: bytes) -> str:
    found = re.findall(b"<%b>(.*?)</%b>" % (element, element), html, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in found)
