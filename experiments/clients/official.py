"""Client of the experiments: the official Python SDK with its default of five attempts, used by 64 threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import eas_prediction
from pacing import BODY, TIMEOUT_S, Account, options


def main():
    given, account, lock = options(), Account(), threading.Lock()
    client = eas_prediction.PredictClient(given.endpoint, given.service)
    client.set_token(given.token)
    client.set_endpoint_type(eas_prediction.ENDPOINT_TYPE_DIRECT)
    client.set_timeout(int(TIMEOUT_S * 1000))
    client.init()
    began = time.time()

    def call(due_s):
        try:
            answer = client.predict(eas_prediction.StringRequest(BODY)).response_data.decode()
        except Exception as error:
            answer = error
        with lock:
            account.ended(due_s, time.time() - began, answer)

    with ThreadPoolExecutor(64) as threads:
        for number in range(int(given.seconds * given.per_s)):
            due_s = number / given.per_s
            # The official SDK blocks, so this thread sleeps until each call is due, and the thread pool makes the call.
            time.sleep(max(0.0, began + due_s - time.time()))
            threads.submit(call, due_s)
    account.report()
    client.destroy()


main()
