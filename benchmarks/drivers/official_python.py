"""The official Python SDK, eight threads on one client, direct connection, token set."""

import threading

from eas_prediction import ENDPOINT_TYPE_DIRECT, PredictClient, StringRequest
from measuring import BODY, Account, options

THREADS = 8


def main() -> None:
    given = options()
    client = PredictClient(f"http://{given.endpoint}", "bench")
    client.set_token("0123456789abcdef")
    client.set_endpoint_type(ENDPOINT_TYPE_DIRECT)
    client.init()

    def caller(calls: int) -> None:
        for _ in range(calls):
            client.predict(StringRequest(BODY.decode()))

    def batch(calls: int) -> None:
        threads = [threading.Thread(target=caller, args=(calls // THREADS,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    batch(given.warm_up)
    account = Account()
    batch(given.calls)
    account.report(given.calls // THREADS * THREADS)
    client.destroy()


main()
