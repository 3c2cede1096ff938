"""Benchmark driver: aiohttp on uvloop, as in a simple script: no discovery, signatures, retries or resume.

Rows are sent in groups, so that memory is bounded. The rows of a group are sent by `in_flight` concurrent tasks.
"""

import asyncio
import json
from itertools import cycle, islice

import aiohttp
import uvloop
from arguments import arguments

GROUP = 10_000


async def main() -> None:
    given = arguments()
    urls = cycle([f"http://127.0.0.1:{port}/api/predict/{given.service}" for port in given.ports.split(",")])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:

        async def caller(rows, answers) -> None:
            for number, line in rows:
                async with session.post(next(urls), json=json.loads(line)) as response:
                    answers[number] = await response.json()

        first = 0
        with open(given.input, "rb") as file, open(given.output, "w") as output:
            while lines := list(islice(file, GROUP)):
                answers = [None] * len(lines)
                rows = iter(enumerate(lines))
                await asyncio.gather(*(caller(rows, answers) for _ in range(given.in_flight)))
                for number, answer in enumerate(answers, first):
                    output.write(json.dumps({"row": number, "response": answer}) + "\n")
                first += len(lines)


uvloop.run(main())
