"""Call a service from plain asyncio: concurrent calls with a common time limit.

EAS_TOKEN=… python asyncio_client.py ENDPOINT scorecard_pmml_example

ENDPOINT is the region's, such as http://pai-eas-vpc.cn-shanghai.aliyuncs.com.
"""

import asyncio
import os
import sys

from eas_tw import ENDPOINT_TYPE_DIRECT
from eas_tw.aio import PredictClient


async def main(endpoint, service):
    token = os.environ.get("EAS_TOKEN", "")
    async with PredictClient(
        endpoint, service, token=token, endpoint_type=ENDPOINT_TYPE_DIRECT
    ) as client:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(score(client, number)) for number in range(20)
            ]
        print(sum(task.result() for task in tasks))


async def score(client, number):
    response = await client.predict(f'[{{"money_credit": {number}}}]')
    return number if str(response) == f'[{{"money_credit": {number}}}]' else 0


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
