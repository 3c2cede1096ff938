"""Measure the load that the simulator can serve: echo requests per second on one core, and open connections.

python benchmarks/simulator_load.py [--seconds S] [--connections N] [--json]

The load generator is one process with keep-alive connections; each connection sends its next request when the response
has arrived. Each run starts a new simulator. The figure to compare is the simulator's CPU time per request, because it
does not depend on the number of cores that the load generator could use.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BODY = b'[{"user": 7, "item": 12345678, "score": 0.5}]'


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs = [run(options.seconds, options.connections) for _ in range(options.runs)]
    if options.json:
        print(json.dumps(runs))
        return
    for each in runs:
        print(
            "{requests_per_s:>9,.0f} requests/s   {cpu_us:>6.1f} µs of CPU a request   {rss_mb:>6.1f} MB".format(**each)
        )


def run(seconds, connections):
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "simulator", "--port", "0", "--service", "echo=1", "--token", ""]
        process = subprocess.Popen([*command, "--ready-file", ready], stdout=subprocess.PIPE, text=True)
        try:
            while not process.stdout.readline().startswith("ready"):
                pass
            instance = json.loads(ready.read_text())["services"][0]["instances"][0]
            before = cpu_s(process.pid)
            done, took_s = load((instance["ip"], instance["port"]), connections, seconds)
            spent_s = cpu_s(process.pid) - before
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            return {
                "requests_per_s": done / took_s,
                "cpu_us": spent_s / done * 1e6,
                "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            }
        finally:
            process.terminate()
            process.communicate()


def load(where, connections, seconds):
    request = b"POST /api/predict/echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
    selector, done = selectors.DefaultSelector(), 0
    for _ in range(connections):
        opened = socket.create_connection(where)
        opened.sendall(request)
        selector.register(opened, selectors.EVENT_READ)
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for key, _ in selector.select(1):
            assert key.fileobj.recv(4096).endswith(BODY)
            done += 1
            key.fileobj.send(request)
    took_s = time.perf_counter() - began
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    return done, took_s


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
