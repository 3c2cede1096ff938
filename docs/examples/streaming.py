"""A processor that streams ?n= lines, one every 100 ms."""

from urllib.parse import parse_qs

from simulator.processors import Later, StreamResponse


def lines(count):
    """Yield the pieces of the body."""
    for number in range(count):
        yield Later(0.1, f"line {number}\n")


def count(request):
    """Answer GET /api/predict/SERVICE?n=5."""
    wanted = parse_qs(request.query).get("n", ["3"])
    headers = {"X-Instance": request.instance}
    body = lines(int(wanted[0]))
    return StreamResponse(body, 200, "text/plain", headers)
