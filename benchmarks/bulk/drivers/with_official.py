"""Benchmark driver: the official SDK with a thread pool, as in a simple script, without resume or further retries.

Rows are sent in groups, because `Executor.map` reads all rows before it returns.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from arguments import arguments
from eas_prediction import ENDPOINT_TYPE_DIRECT, PredictClient, StringRequest

GROUP = 10_000
THREADS = 16

given = arguments()
client = PredictClient(given.endpoint, given.service)
client.set_token(given.token)
client.set_endpoint_type(ENDPOINT_TYPE_DIRECT)
client.init()


def score(line):
    return json.loads(client.predict(StringRequest(json.dumps(json.loads(line)))).response_data)


with open(given.input, "rb") as file, open(given.output, "w") as output, ThreadPoolExecutor(THREADS) as pool:
    number = 0
    while lines := list(islice(file, GROUP)):
        for answer in pool.map(score, lines):
            output.write(json.dumps({"row": number, "response": answer}) + "\n")
            number += 1
client.destroy()
