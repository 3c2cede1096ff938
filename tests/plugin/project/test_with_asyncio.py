"""Use the fixtures with pytest-asyncio, on an event loop without Twisted."""

import asyncio

import pytest


@pytest.mark.asyncio
async def test_the_fixtures_work_in_an_event_loop(eas_service):
    reader, writer = await asyncio.open_connection(*eas_service.address())
    head = f"POST /api/predict/{eas_service.name} HTTP/1.1\r\nHost: x\r\nAuthorization: {eas_service.token}\r\n"
    writer.write(f"{head}Connection: close\r\nContent-Length: 2\r\n\r\nhi".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhi")
