"""Tensor driver: copy the same memory once for the request and once for the response, as the lower bound."""

import json

from measuring import DTYPES, array_of, options, seconds

given = options()
found = {}
for dtype in DTYPES:
    for size in given.sizes:
        array = array_of(dtype, size)
        found[f"{dtype} {size} array write"] = seconds(array.tobytes, given.repeats)
        found[f"{dtype} {size} array read"] = seconds(array.copy, given.repeats)
print(json.dumps(found))
