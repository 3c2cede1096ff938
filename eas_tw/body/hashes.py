"""MD5 and SHA-1 for signatures, by the implementation that is faster for the size of the input.

OpenSSL is faster for long inputs, but setting up and copying its context costs more than hashing a short input.
Measured on CPython 3.11: copying a SHA-1 takes 0.75 µs with OpenSSL and 0.11 µs with the interpreter's own
implementation, and the MD5 of 64 bytes takes 0.55 µs and 0.33 µs; at 1 KiB OpenSSL is faster. The signature of a small
request takes two copies and one MD5.

The MD5 of a large body can be computed in steps, so that it runs in a thread (`net.offload`): OpenSSL releases the
GIL meanwhile.
"""

from __future__ import annotations

import hashlib
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from eas_tw.body.steps import STEP_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw.body.steps import Steps

# Between the two sizes that were measured: the built-in MD5 is faster at 64 bytes, OpenSSL at 1 KiB.
_SHORT_BYTES = 512
LONG_BYTES = 1 << 20
"""The size of a body, in bytes, from which its MD5 is computed in a thread.

Measured on a busy machine: the MD5 of 1 MiB takes 1.7 ms, and a thread takes about 0.3 ms of CPU time, and
blocks the reactor for 0.15 ms of this time. At 256 KiB the MD5 takes 0.4 ms, so a thread would cost nearly as much as
it saves.
"""


def _built_in(name: str) -> Callable[[bytes], Any]:
    """Return the interpreter's own implementation, or OpenSSL's if there is none, as in PyPy."""
    try:
        implementation: Callable[[bytes], Any] = getattr(import_module(f"_{name}"), name)
    except ImportError:
        return partial(getattr(hashlib, name), usedforsecurity=False)
    return implementation


_short_md5 = _built_in("md5")
sha1 = _built_in("sha1")


def md5_hex(data: bytes) -> str:
    """Return the MD5 of `data` as 32 hexadecimal digits."""
    digest: str
    if len(data) <= _SHORT_BYTES:
        digest = _short_md5(data).hexdigest()
    else:
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return digest


def md5_hex_in_steps(data: bytes) -> Steps[str]:
    """Compute the result of `md5_hex` in steps."""
    md5 = hashlib.md5(usedforsecurity=False)
    memory = memoryview(data)
    for at in range(0, len(data), STEP_BYTES):
        md5.update(memory[at : at + STEP_BYTES])
        yield
    return md5.hexdigest()
