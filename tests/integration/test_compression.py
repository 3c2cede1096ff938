"""Compressed requests and responses over real sockets: signatures, size limits and configuration."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from eas_tw import (
    ENDPOINT_TYPE_DEFAULT,
    ENDPOINT_TYPE_DIRECT,
    BodyError,
    ClientConfig,
    ConfigError,
    PredictClient,
    StatusError,
    TorchRequest,
)
from eas_tw.body import compression
from eas_tw.config import COMPRESSIONS
from tests.patience import PATIENT
from tests.simulator.kinds import scenario
from tests.simulator.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = "the same words again and again, " * 200


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("compression")
    services = [("plain", "echo"), ("zstd-torch", "zstd+torch"), ("forgetful", "gzip+echo")]
    services += [(f"takes-{codec}", f"{codec}+echo") for codec in COMPRESSIONS]
    services += [(f"gives-{codec}", f"echo+{codec}") for codec in COMPRESSIONS]
    with Served(folder, *scenario(folder, *services)) as running:
        yield running


async def answer(
    served: Served, service: str, body: Any = TEXT, kind: str = ENDPOINT_TYPE_DIRECT, **settings: Any
) -> Any:
    """Make a client, and return the response of one call."""
    client = PredictClient(
        served.ready["url"],
        service,
        token="t0ken",
        endpoint_type=kind,
        reactor=reactor,
        config=ClientConfig(**{**PATIENT, **settings}),
    )
    async with client:
        return await client.predict(body)


@pytest.mark.parametrize("codec", COMPRESSIONS)
@pytest.mark.parametrize("kind", [ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_DEFAULT])
@pytest_twisted.ensureDeferred
async def test_requests_are_compressed_and_signed_as_sent(served: Served, codec: str, kind: str) -> None:
    """The service checks the signature of the compressed bytes, and then decompresses them."""
    assert str(await answer(served, f"takes-{codec}", kind=kind, compress=codec)) == TEXT
    row = served.admin("GET", "/v1/requests?limit=1")[1]["requests"][-1]
    assert row["bytes_in"] == len(compression.compress(codec, TEXT.encode()))


@pytest.mark.parametrize("codec", COMPRESSIONS)
@pytest.mark.parametrize("kind", [ENDPOINT_TYPE_DIRECT, ENDPOINT_TYPE_DEFAULT])
@pytest_twisted.ensureDeferred
async def test_responses_are_decompressed_by_their_content_encoding(served: Served, codec: str, kind: str) -> None:
    assert str(await answer(served, f"gives-{codec}", kind=kind)) == TEXT


@pytest.mark.parametrize("codec", COMPRESSIONS)
@pytest_twisted.ensureDeferred
async def test_responses_are_decompressed_as_configured(served: Served, codec: str) -> None:
    assert str(await answer(served, "plain", compress=codec, decompress=codec)) == TEXT


@pytest_twisted.ensureDeferred
async def test_a_configured_codec_takes_precedence_over_the_content_encoding(served: Served) -> None:
    with pytest.raises(BodyError, match="cannot be decompressed as zstd"):
        await answer(served, "gives-gzip", decompress="zstd")


@pytest.mark.parametrize("codec", COMPRESSIONS)
@pytest_twisted.ensureDeferred
async def test_large_bodies_go_both_ways_in_threads(served: Served, codec: str) -> None:
    """Three megabytes of random bytes and one megabyte of zeros are compressed and decompressed in a thread."""
    body = random.Random(7).randbytes(3 << 20) + bytes(1 << 20)
    assert (await answer(served, "plain", body, compress=codec, decompress=codec, timeout_s=60)).content == body


@pytest.mark.parametrize("codec", [codec for codec in COMPRESSIONS if codec != "lz4-block"])
@pytest_twisted.ensureDeferred
async def test_a_body_that_cannot_be_decompressed_is_an_error(served: Served, codec: str) -> None:
    with pytest.raises(BodyError, match=f"cannot be decompressed as {codec}"):
        await answer(served, "plain", decompress=codec)


@pytest.mark.parametrize("codec", COMPRESSIONS)
@pytest_twisted.ensureDeferred
async def test_a_response_has_one_limit_compressed_or_not(served: Served, codec: str) -> None:
    """`max_response_bytes` applies to the decompressed body, and is exact."""
    assert str(await answer(served, f"gives-{codec}", max_response_bytes=len(TEXT))) == TEXT
    with pytest.raises(BodyError, match="cannot be decompressed"):
        await answer(served, f"gives-{codec}", max_response_bytes=len(TEXT) - 1)


@pytest_twisted.ensureDeferred
async def test_requests_with_tensors_are_compressed(served: Served) -> None:
    """A `TorchRequest` is compressed with the codec of the client's setting `compress`."""
    request = TorchRequest()
    request.add_feed(0, [1, 1000], request.DT_FLOAT, [0.5] * 1000)
    assert (await answer(served, "zstd-torch", request, compress="zstd")).get_values(0) == [0.5]


@pytest_twisted.ensureDeferred
async def test_a_service_without_compression_refuses_compressed_requests(served: Served) -> None:
    with pytest.raises(StatusError, match=r"400.*the body is not gzip"):
        await answer(served, "takes-gzip")


@pytest.mark.parametrize("name", ["compress", "decompress"])
@pytest.mark.parametrize("value", ["rar", "", 5, True])
def test_an_unknown_compression_is_a_config_error(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} must be one of 'gzip', 'lz4', .*, or None, got {value!r}"):
        ClientConfig(**{name: value})
