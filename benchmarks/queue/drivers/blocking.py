"""Benchmark driver: puts from many threads, and one watch, with the official Python SDK's names.

With `--module eas_tw.blocking` the same program measures our client; only the import differs.
"""

import importlib
import threading

from measuring import Account, options


def main() -> None:
    given = options()
    sdk = importlib.import_module(given.module)

    def queue_of(name: str) -> object:
        queue = sdk.QueueClient(given.url, name)
        queue.set_token(given.token)
        queue.set_endpoint_type(sdk.ENDPOINT_TYPE_DIRECT)
        queue.init()
        return queue

    sink = queue_of("bench/sink")
    body = b"x" * given.body_bytes

    def caller(puts: int) -> None:
        for _ in range(puts):
            sink.put(body)

    sink.put(body)
    sink.get(timeout="0s")  # opens the connection
    account = Account()
    threads = [threading.Thread(target=caller, args=(given.frames // given.threads,)) for _ in range(given.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = given.frames // given.threads * given.threads
    puts = account.per_cpu_s(count)
    account = Account()
    watcher = sink.watch(0, 32, auto_commit=True)
    for seen, _ in enumerate(watcher.run(), 1):
        if seen == count:
            break
    account.report(puts, account.per_cpu_s(count))
    watcher.close()
    sink.destroy()


main()
