"""A model like EAS's `mnist_saved_model_example`: `images [n, 784]` float as input, `scores [n, 10]` float as output.

The model is linear, with fixed weights from a formula, so that a wrong tensor gives a wrong result. It is computed in
double precision in a fixed order and rounded once, so the same input gives the same bits on every platform. Requests
are parsed with the protobuf package, and not with the client's own code.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any

from eas_tw.body import schema

_FLOAT = 1
PIXELS = 784
DIGITS = 10


def mnist(body: bytes) -> bytes:
    """Return the serialised response to a serialised request.

    Raises:
        ValueError: The request has no `images` of the right type and shape; the text gives the actual input.
    """
    images = _images(body)
    response = _message("PredictResponse")()
    scores = response.outputs["scores"]
    scores.dtype = _FLOAT
    scores.array_shape.dim.extend([len(images) // PIXELS, DIGITS])
    for start in range(0, len(images), PIXELS):
        scores.float_val.extend(score(images[start : start + PIXELS]))
    return response.SerializeToString()  # type: ignore[no-any-return]


def score(image: list[float]) -> list[float]:
    """Compute the ten scores of one image of 784 pixels."""
    return [
        bias + sum(weight * pixel for weight, pixel in zip(weights, image, strict=True)) for bias, weights in _model()
    ]


def _images(body: bytes) -> list[float]:
    request = _message("PredictRequest")()
    try:
        request.ParseFromString(body)
    except Exception as error:
        raise ValueError(f"the body is not a PredictRequest: {error}") from error
    if "images" not in request.inputs:
        raise ValueError(f"no input named images; there is {', '.join(sorted(request.inputs)) or 'none'}")
    images = request.inputs["images"]
    shape = list(images.array_shape.dim)
    if images.dtype != _FLOAT or len(shape) != 2 or shape[1] != PIXELS:  # noqa: PLR2004
        raise ValueError(f"images must be DT_FLOAT (1) of shape [n, {PIXELS}], got dtype {images.dtype}, shape {shape}")
    if len(images.float_val) != prod(shape):
        raise ValueError(f"images of shape {shape} must have {prod(shape)} values, got {len(images.float_val)}")
    return list(images.float_val)


def _message(name: str) -> Any:
    return schema.message(f"eas_tw.tf.{name}")


@cache
def _model() -> tuple[tuple[float, tuple[float, ...]], ...]:
    """Return bias and weights of each digit: all weights differ and are within ± 1/64."""
    return tuple(
        (
            (digit - 4.5) / 16,
            tuple(((pixel * 31 + digit * 97 + pixel * digit) % 127 - 63) / 4096 for pixel in range(PIXELS)),
        )
        for digit in range(DIGITS)
    )
