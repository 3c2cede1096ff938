"""Store the results of a queue service as files, until the stream ends.

EAS_TOKEN=… python queue_worker.py ENDPOINT qservice FOLDER

It may be killed and restarted at any time: a result that is not stored is not
committed, so the queue sends it again.
"""

import asyncio
import os
import sys
from pathlib import Path

from eas_tw import ENDPOINT_TYPE_DIRECT
from eas_tw.aio import QueueClient


async def main(endpoint, service, folder):
    queue = QueueClient(
        endpoint,
        service,
        token=os.environ["EAS_TOKEN"],
        user="archive-1",
        group="archive",
        endpoint_type=ENDPOINT_TYPE_DIRECT,
    )
    async with (
        queue,
        queue.sink().watch(window=4) as watcher,
        asyncio.TaskGroup() as tasks,
    ):
        async for frame in watcher:  # no more than 4 frames at a time
            tasks.create_task(store(watcher, frame, Path(folder)))


async def store(watcher, frame, folder):
    status = frame.tags.get("lastCode", "200")  # set by the service if it is not 200
    name = f"{frame.request_id}.{status}"
    await asyncio.to_thread((folder / name).write_bytes, frame.data)
    await watcher.commit(frame)  # after the work, so that no result is lost


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
