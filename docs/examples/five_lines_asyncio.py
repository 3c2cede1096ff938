"""The README's example for asyncio, as a complete program.

python five_lines_asyncio.py ENDPOINT SERVICE TOKEN
"""

import asyncio
import sys

from eas_tw import ENDPOINT_TYPE_DIRECT
from eas_tw.aio import PredictClient


async def main(endpoint, service, token):
    async with PredictClient(
        endpoint, service, token=token, endpoint_type=ENDPOINT_TYPE_DIRECT
    ) as client:
        print(await client.predict('[{"money_credit": 3000000}]', timeout_s=2.0))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python five_lines_asyncio.py ENDPOINT SERVICE TOKEN")
    asyncio.run(main(*sys.argv[1:]))
