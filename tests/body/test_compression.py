"""Compression and decompression with every codec, and the limits on memory and on the time of a step."""

from __future__ import annotations

import contextlib
import gzip
import random
import subprocess
import sys
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw import BodyError, ConfigError
from eas_tw.body.compression import check_codec, compress, compressing, decode, decoding, decompress, decompressing
from eas_tw.body.steps import FIRST_BYTES, STEP_BYTES, Steps, begin
from eas_tw.config import COMPRESSIONS

SETTINGS = settings(derandomize=True, deadline=None, max_examples=40)
LIMIT = 1 << 20
FRAMED = [
    codec for codec in COMPRESSIONS if codec != "lz4-block"
]  # a bare LZ4 block has no header, no end mark and no checksum, so truncated or damaged data may be valid
PLAIN = b"the same words again and again, " * 300


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_decompression_returns_the_bytes_that_were_compressed(codec: str) -> None:
    """Any bytes are accepted, including none. Equal input gives equal output, because the compressed body is signed."""

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
    assert len(compress(codec, PLAIN)) < len(PLAIN) / 15


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_the_limit_is_exact(codec: str) -> None:
    packed = compress(codec, PLAIN)
    assert decompress(codec, packed, len(PLAIN)) == PLAIN
    with pytest.raises(BodyError, match=f"{len(packed)} bytes cannot be decompressed as {codec}"):
        decompress(codec, packed, len(PLAIN) - 1)


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_a_decompression_bomb_is_rejected_at_the_limit(codec: str) -> None:
    """A body that expands to 60 MiB raises `BodyError`, because the limit is 1 MiB."""
    bomb = compress(codec, bytes(60 << 20))
    with pytest.raises(BodyError):
        decompress(codec, bomb, LIMIT)


@pytest.mark.parametrize("codec", FRAMED)
def test_truncated_data_is_an_error(codec: str) -> None:
    packed = compress(codec, PLAIN)
    for length in range(1, len(packed)):
        with pytest.raises(BodyError, match="cannot be decompressed"):
            decompress(codec, packed[:length], LIMIT)


@pytest.mark.parametrize("codec", FRAMED)
@pytest.mark.parametrize("data", [b"<html>busy</html>", b'{"a": 1}', b"\xff" * 40, PLAIN])
def test_data_of_another_format_is_an_error(codec: str, data: bytes) -> None:
    with pytest.raises(BodyError, match="cannot be decompressed"):
        decompress(codec, data, LIMIT)


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_any_bytes_are_data_or_a_body_error(codec: str) -> None:
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


def test_the_output_has_the_standard_format() -> None:
    """The standard library decompresses gzip and zlib. Of zstd, lz4 and snappy, only the first bytes are compared."""
    assert gzip.decompress(compress("gzip", PLAIN)) == PLAIN
    assert zlib.decompress(compress("zlib", PLAIN)) == PLAIN
    assert compress("gzip", b"")[4:8] == bytes(4)  # the modification time is 0, so that the output is reproducible
    assert compress("zstd", PLAIN)[:4] == bytes.fromhex("28b52ffd")  # RFC 8878 §3.1.1
    assert compress("lz4", PLAIN)[:4] == bytes.fromhex("04224d18")
    assert compress("snappy", b"x" * 5)[0] == 5  # the uncompressed length; there is no stream header


def test_several_members_are_one_body() -> None:
    """RFC 1952 §2.2 allows several gzip members. Zero bytes after the last member are padding."""
    two = compress("gzip", b"a") + compress("gzip", b"b") + bytes(8)
    assert decompress("gzip", two, 2) == b"ab"
    with pytest.raises(BodyError, match="larger than 1 bytes"):
        decompress("gzip", two, 1)


def test_content_encodings_are_decoded() -> None:
    """Content-Encoding may name no coding, one, or several in the order of their application, in any letter case."""
    assert decode("", b"x", 9) == decode("identity", b"x", 9) == b"x"
    assert decode("X-GZip", compress("gzip", PLAIN), LIMIT) == PLAIN
    assert decode("deflate", compress("zlib", PLAIN), LIMIT) == PLAIN
    assert decode("zstd , gzip", compress("gzip", compress("zstd", PLAIN)), LIMIT) == PLAIN
    with pytest.raises(BodyError, match="Content-Encoding 'br' is none of gzip"):
        decode("br", PLAIN, LIMIT)


def test_an_unknown_codec_says_which_there_are() -> None:
    with pytest.raises(BodyError, match="no compression 'rar'; there is gzip, lz4"):
        compress("rar", b"")
    with pytest.raises(ConfigError, match="no compression 'rar'"):
        check_codec("rar")
    for codec in COMPRESSIONS:
        check_codec(codec)


def test_without_cramjam_only_codecs_of_the_standard_library_are_available() -> None:
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


BIG = 256 << 20
NOISE = random.Random(5).randbytes(9000)


def steps_of(steps: Steps[bytes]) -> int:
    """Count the steps until the generator ends or raises `BodyError`."""
    count = 1
    with contextlib.suppress(BodyError):
        for _ in steps:
            count += 1
    return count


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_an_empty_body_is_empty(codec: str) -> None:
    """A server may name a coding and send no body."""
    assert decompress(codec, b"", LIMIT) == b""
    assert decode(f"{codec}, gzip", b"", LIMIT) == b""


@pytest.mark.parametrize(
    ("codec", "kept"),
    [*((codec, kept) for codec in FRAMED for kept in (2, 5, 5000)), ("lz4-block", 2), ("lz4-block", 900)],
)
def test_a_broken_body_allocates_little_memory(codec: str, kept: int) -> None:
    broken = compress(codec, NOISE)[:kept]
    assert steps_of(decompressing(codec, broken, BIG)) == 1
    tracemalloc.start()
    try:
        with pytest.raises(BodyError):
            decompress(codec, broken, BIG)
        assert tracemalloc.get_traced_memory()[1] < 4 * FIRST_BYTES
    finally:
        tracemalloc.stop()


def test_a_broken_lz4_block_costs_at_most_255_times_its_size() -> None:
    """A broken block and a too small buffer raise the same error, so buffers up to 255 times the block are tried."""
    assert steps_of(decompressing("lz4-block", compress("lz4-block", NOISE)[:5000], BIG)) == 3


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_small_bodies_take_one_step_and_large_ones_more(codec: str) -> None:
    """The first step runs in the reactor thread, so its output is bounded."""
    small, large = compress(codec, bytes(FIRST_BYTES // 8)), compress(codec, bytes(8 * STEP_BYTES))
    assert begin(decompressing(codec, small, BIG)) == (bytes(FIRST_BYTES // 8), True)
    assert begin(decompressing(codec, large, BIG)) == (None, False)
    assert decompress(codec, large, BIG) == bytes(8 * STEP_BYTES)


def test_a_gzip_bomb_takes_many_short_steps() -> None:
    """A step produces at most one megabyte, so that a cancelled call stops soon."""
    bomb = gzip.compress(bytes(64 << 20), 9)
    assert 64 <= steps_of(decompressing("gzip", bomb, BIG)) <= 80
    assert steps_of(decompressing("gzip", bomb, 8 << 20)) <= 12


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"") * 40_000,
        gzip.compress(b"x") * 40_000,
        gzip.compress(b"x") + bytes(4 << 20),
    ],
    ids=["empty members", "short members", "padding"],
)
def test_input_with_little_output_is_decompressed_in_steps(data: bytes) -> None:
    """The number of steps is proportional to the input, because the work of a step is bounded."""
    steps = steps_of(decompressing("gzip", data, BIG))
    assert 10 < steps < 400
    assert abs(steps_of(decompressing("gzip", data + data, BIG)) - 2 * steps) <= 2


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_many_frames_are_not_decompressed_in_the_first_step(codec: str) -> None:
    frames = compress(codec, b"") * 20_000
    assert begin(decompressing(codec, frames, BIG)) == (None, False)
    assert decompress(codec, frames, BIG) == b""


def test_several_frames_are_one_body() -> None:
    """RFC 8878 §3.1 allows several frames in zstd data. The frame format of LZ4 allows them, too."""
    for codec in ("lz4", "zstd"):
        assert decompress(codec, compress(codec, PLAIN) + compress(codec, b"more"), LIMIT) == PLAIN + b"more"


@pytest.mark.parametrize("claimed", [5 << 20, 1 << 31])
def test_no_memory_is_allocated_for_an_impossible_size_in_snappy(claimed: int) -> None:
    """In the Snappy format, three bytes of input give at most 64 bytes of output."""
    size = bytearray()
    while claimed:
        size.append(claimed & 0x7F | (0x80 if claimed > 0x7F else 0))
        claimed >>= 7
    with pytest.raises(BodyError, match=r"more than its|larger than"):
        decompress("snappy", bytes(size) + b"\x00a", BIG)


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize("data", [b"", b"x", PLAIN, NOISE])
def test_deflate_is_taken_with_and_without_zlibs_header(data: bytes) -> None:
    """RFC 9110 §8.4.1.2: some servers send deflate data without the zlib header."""
    assert decode("deflate", zlib.compress(data), LIMIT) == data
    assert decode("deflate", raw_deflate(data), LIMIT) == data


def test_raw_deflate_has_an_end() -> None:
    """Raw deflate has no checksum, so the decoder checks its end. The coding `zlib` does not accept raw deflate."""
    with pytest.raises(BodyError, match="4 bytes follow its end"):
        decode("deflate", raw_deflate(PLAIN) + b"more", LIMIT)
    with pytest.raises(BodyError, match="cut short"):
        decode("deflate", raw_deflate(PLAIN)[:-1], LIMIT)
    with pytest.raises(BodyError, match="incorrect header check"):
        decompress("zlib", raw_deflate(PLAIN), LIMIT)


def test_at_most_five_codings_are_decoded() -> None:
    data = PLAIN
    for _ in range(5):
        data = compress("gzip", data)
    assert decode(", ".join(["gzip", "identity"] * 5), data, LIMIT) == PLAIN
    with pytest.raises(BodyError, match="6 content codings; at most 5"):
        decode(", ".join(["gzip"] * 6), compress("gzip", data), LIMIT)
    assert decode(", ".join(["identity"] * 6000), PLAIN, LIMIT) == PLAIN


def test_a_long_name_of_a_coding_is_cut() -> None:
    with pytest.raises(BodyError) as caught:
        decode("x" * 60_000, PLAIN, LIMIT)
    assert len(str(caught.value)) < 300


def test_a_coding_that_is_unknown_under_a_known_one_is_an_error() -> None:
    with pytest.raises(BodyError, match="Content-Encoding 'br'"):
        decode("br, gzip", compress("gzip", PLAIN), LIMIT)
    assert steps_of(decoding("br", PLAIN, LIMIT)) == 1


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_large_bodies_are_compressed_in_steps(codec: str) -> None:
    plain = NOISE * 400
    assert begin(compressing(codec, plain[:FIRST_BYTES]))[1]
    assert begin(compressing(codec, plain)) == (None, False)
    assert compress(codec, plain) == compress(codec, plain)
    assert decompress(codec, compress(codec, plain), BIG) == plain
