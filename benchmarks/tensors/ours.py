"""Tensor driver: eas_tw."""

from measuring import DTYPES, main

from eas_tw import TFRequest, TFResponse


def write(dtype, content):
    request = TFRequest("s")
    request.add_feed("x", [len(content)], DTYPES[dtype][1], content)
    return request.to_string()


def read(_, body, source):
    response = TFResponse(body)
    return response.as_numpy("y") if source == "array" else response.get_values("y")


main(write, read)
