"""Benchmark driver: the official Python SDK, blocking, with many threads on one client, direct connection and token.

With `--module eas_tw.blocking` the same program measures our blocking client; only the import differs.
"""

import importlib
import threading

from measuring import Account, body_of, options


def main() -> None:
    given = options()
    sdk = importlib.import_module(given.module)
    client = sdk.PredictClient(f"http://{given.endpoint}", "bench")
    client.set_token("0123456789abcdef")
    client.set_endpoint_type(sdk.ENDPOINT_TYPE_DIRECT)
    client.init()

    body = body_of(given.body_bytes).decode()

    def caller(calls: int) -> None:
        for _ in range(calls):
            client.predict(sdk.StringRequest(body))

    def batch(calls: int) -> None:
        threads = [threading.Thread(target=caller, args=(calls // given.threads,)) for _ in range(given.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    batch(given.warm_up)
    account = Account()
    batch(given.calls)
    account.report(given.calls // given.threads * given.threads)
    client.destroy()


main()
