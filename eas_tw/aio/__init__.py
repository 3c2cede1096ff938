"""The client for asyncio programs, whose methods are coroutines.

async with eas_tw.aio.PredictClient(endpoint, service, token=token, endpoint_type=ENDPOINT_TYPE_DIRECT) as client:
    response = await client.predict('[{"money_credit": 3000000}]')
"""

from eas_tw.aio.client import PredictClient

__all__ = ["PredictClient"]
