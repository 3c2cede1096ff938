"""Add the same tensor as shape, dtype and content, and as an array."""

import numpy as np

from eas_tw import TFRequest


def add_both(request, same):
    request.add_feed("x", [1, 3], TFRequest.DT_FLOAT, [1, 2, 3])
    same.add_feed("x", content=np.array([[1, 2, 3]], np.float32))


if __name__ == "__main__":
    request, same = TFRequest("serving_default"), TFRequest("serving_default")
    add_both(request, same)
    print(request.to_string() == same.to_string())
