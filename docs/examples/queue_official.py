"""A program for the official SDK's queue client: only its import line has changed.

EAS_TOKEN=… python queue_official.py ENDPOINT qservice
"""

import os
import sys

from eas_tw.blocking import ENDPOINT_TYPE_DIRECT, QueueClient

endpoint, service = sys.argv[1:]

input_queue = QueueClient(endpoint, service)
sink_queue = QueueClient(endpoint, f"{service}/sink")
for queue in (input_queue, sink_queue):
    queue.set_endpoint_type(ENDPOINT_TYPE_DIRECT)
    queue.set_token(os.environ["EAS_TOKEN"])
    queue.init()

for number in range(3):
    index, request_id = input_queue.put(f"[{number}]")

watcher = sink_queue.watch(0, 5, auto_commit=False)
for done, frame in enumerate(watcher.run(), 1):
    print(frame.data)
    sink_queue.commit(frame.index)
    if done == 3:
        break
watcher.close()
for queue in (input_queue, sink_queue):
    queue.destroy()
