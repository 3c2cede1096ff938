"""A relay for language models, which forwards responses while they arrive.

EAS_ENDPOINT=… EAS_SERVICE=… EAS_TOKEN=… python relay_fastapi.py PORT
"""

import os
import sys
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.background import BackgroundTask

from eas_tw import ENDPOINT_TYPE_DIRECT, DeadlineExceeded, EasError
from eas_tw.aio import PredictClient


@asynccontextmanager
async def lifespan(app):
    async with PredictClient(
        os.environ["EAS_ENDPOINT"],
        os.environ["EAS_SERVICE"],
        token=os.environ.get("EAS_TOKEN", ""),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
    ) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.api_route("/v1/{path:path}", methods=["GET", "POST"])
async def relay(path: str, request: Request):
    stream = await request.app.state.client.stream(
        await request.body(),
        method=request.method,
        path=f"v1/{path}",
        query=request.url.query or None,
        headers={"Content-Type": request.headers.get("content-type", "")},
        timeout_s=60,
        any_status=True,
    )
    kept = ("content-type", "content-encoding", "x-request-id")
    headers = {name: stream.headers[name] for name in kept if name in stream.headers}
    closing = BackgroundTask(close, stream)
    return StreamingResponse(
        pieces(stream), stream.status, headers, background=closing
    )


async def pieces(stream):
    # When the browser disconnects, the block is left, which closes the instance's
    # connection.
    async with stream:
        async for piece in stream.iter_raw():
            yield piece


async def close(stream):
    # Runs after the response, also if the browser left before the first piece.
    stream.close()


@app.exception_handler(EasError)
async def failed(_: Request, error: EasError):
    status = 504 if isinstance(error, DeadlineExceeded) else 502
    return JSONResponse({"error": {"message": str(error)}}, status)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]))
