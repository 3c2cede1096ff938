"""The hashes for signatures are correct with the implementation of the interpreter and with that of OpenSSL."""

import hashlib
import sys

import pytest

from eas_tw.body import hashes
from eas_tw.body.steps import STEP_BYTES, finish


@pytest.mark.parametrize("size", [0, 1, 55, 56, 64, 511, 512, 513, 4096])
def test_md5_hex_agrees_with_openssl_on_both_sides_of_the_switch(size: int) -> None:
    data = bytes(at % 251 for at in range(size))
    assert hashes.md5_hex(data) == hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("size", [0, 1, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 3 * STEP_BYTES])
def test_md5_hex_in_steps_agrees_with_openssl(size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    assert finish(hashes.md5_hex_in_steps(data)) == hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_sha1_agrees_with_openssl() -> None:
    assert hashes.sha1(b"text").digest() == hashlib.sha1(b"text", usedforsecurity=False).digest()


def test_an_interpreter_without_its_own_implementation_uses_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_sha1", None)
    sha1 = hashes._built_in("sha1")
    copied = sha1(b"te").copy()
    copied.update(b"xt")
    assert copied.digest() == hashlib.sha1(b"text", usedforsecurity=False).digest()
