"""Compression: there and back, within a limit, and never the compressed bytes for the plain ones."""

from __future__ import annotations

import contextlib
import gzip
import subprocess
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw import BodyError, ConfigError
from eas_tw.body.compression import check_codec, compress, decode, decompress
from eas_tw.config import COMPRESSIONS

SETTINGS = settings(derandomize=True, deadline=None, max_examples=40)
LIMIT = 1 << 20
FRAMED = [
    codec for codec in COMPRESSIONS if codec != "lz4-block"
]  # a bare block has no beginning, no end and no checksum
PLAIN = b"the same words again and again, " * 300


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_there_and_back(codec: str) -> None:
    """Any bytes, none too; the same bytes each time, since they are signed."""

    @SETTINGS
    @given(st.binary(max_size=300) | st.binary(max_size=20).map(lambda part: part * 500))
    def check(data: bytes) -> None:
        packed = compress(codec, data)
        assert isinstance(packed, bytes)
        assert decompress(codec, packed, LIMIT) == data
        assert compress(codec, data) == packed

    check()


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_repetition_gets_smaller(codec: str) -> None:
    """Else it would be for nothing."""
    assert len(compress(codec, PLAIN)) < len(PLAIN) / 15


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_the_limit_is_exact(codec: str) -> None:
    """As large as it may be is right, one byte less room is an error."""
    packed = compress(codec, PLAIN)
    assert decompress(codec, packed, len(PLAIN)) == PLAIN
    with pytest.raises(BodyError, match=f"{len(packed)} bytes cannot be decompressed as {codec}"):
        decompress(codec, packed, len(PLAIN) - 1)


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_a_bomb_stays_small(codec: str) -> None:
    """Sixty megabytes of nothing, refused at one."""
    bomb = compress(codec, bytes(60 << 20))
    with pytest.raises(BodyError):
        decompress(codec, bomb, LIMIT)


@pytest.mark.parametrize("codec", FRAMED)
def test_what_is_cut_short_is_an_error(codec: str) -> None:
    """Anywhere."""
    packed = compress(codec, PLAIN)
    for length in range(len(packed)):
        with pytest.raises(BodyError, match="cannot be decompressed"):
            decompress(codec, packed[:length], LIMIT)


@pytest.mark.parametrize("codec", FRAMED)
@pytest.mark.parametrize("data", [b"<html>busy</html>", b'{"a": 1}', b"\xff" * 40, PLAIN])
def test_what_is_something_else_is_an_error(codec: str, data: bytes) -> None:
    """A page, JSON, noise."""
    with pytest.raises(BodyError, match="cannot be decompressed"):
        decompress(codec, data, LIMIT)


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_any_bytes_are_data_or_a_body_error(codec: str) -> None:
    """Right ones with some bytes changed; never more than the limit."""
    packed = compress(codec, PLAIN)

    @settings(SETTINGS, max_examples=150)
    @given(st.lists(st.tuples(st.integers(0, len(packed) - 1), st.integers(0, 255)), min_size=1, max_size=3))
    def check(damages: list[tuple[int, int]]) -> None:
        damaged = bytearray(packed)
        for at, byte in damages:
            damaged[at] = byte
        with contextlib.suppress(BodyError):
            assert len(decompress(codec, bytes(damaged), LIMIT)) <= LIMIT

    check()


def test_others_read_it() -> None:
    """The standard library, what it has; the others' first bytes are those of their formats."""
    assert gzip.decompress(compress("gzip", PLAIN)) == PLAIN
    assert zlib.decompress(compress("zlib", PLAIN)) == PLAIN
    assert compress("gzip", b"")[4:8] == bytes(4)  # no time in it
    assert compress("zstd", PLAIN)[:4] == bytes.fromhex("28b52ffd")  # RFC 8878 §3.1.1
    assert compress("lz4", PLAIN)[:4] == bytes.fromhex("04224d18")
    assert compress("snappy", b"x" * 5)[0] == 5  # the length; no stream header


def test_several_members_are_one_body() -> None:
    """RFC 1952 §2.2; zeros at the end are padding."""
    two = compress("gzip", b"a") + compress("gzip", b"b") + bytes(8)
    assert decompress("gzip", two, 2) == b"ab"
    with pytest.raises(BodyError, match="larger than 1 bytes"):
        decompress("gzip", two, 1)


def test_a_content_encoding_is_undone() -> None:
    """One, none, or several in the order they were applied; names in either case."""
    assert decode("", b"x", 9) == decode("identity", b"x", 9) == b"x"
    assert decode("X-GZip", compress("gzip", PLAIN), LIMIT) == PLAIN
    assert decode("deflate", compress("zlib", PLAIN), LIMIT) == PLAIN
    assert decode("zstd , gzip", compress("gzip", compress("zstd", PLAIN)), LIMIT) == PLAIN
    with pytest.raises(BodyError, match="Content-Encoding 'br' is none of gzip"):
        decode("br", PLAIN, LIMIT)


def test_an_unknown_codec_says_which_there_are() -> None:
    """And known ones are fine."""
    with pytest.raises(BodyError, match="no compression 'rar'; there is gzip, lz4"):
        compress("rar", b"")
    with pytest.raises(ConfigError, match="no compression 'rar'"):
        check_codec("rar")
    for codec in COMPRESSIONS:
        check_codec(codec)


def test_without_cramjam_the_standard_librarys_are_left() -> None:
    """The others say what to install."""
    program = (
        "import sys; sys.modules['cramjam'] = None; from eas_tw import EasError, TorchRequest\n"
        "from eas_tw.body.compression import compress\n"
        "compress('gzip', b''); compress('zlib', b''); TorchRequest()\n"
        "for call in (lambda: compress('zstd', b''), lambda: TorchRequest(flag=True)):\n"
        "    try: call()\n"
        "    except EasError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603
    assert done.stdout.splitlines() == [
        f"{error} {codec} needs cramjam; install it with: pip install 'eas-tw[compression]'"
        for error, codec in (("BodyError", "zstd"), ("ConfigError", "snappy"))
    ]
