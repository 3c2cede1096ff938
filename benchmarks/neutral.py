"""The server of the benchmarks: nginx with one worker that answers predictions and discovery.

It shares no code with the compared clients, so its cost is the same for all.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIGURATION = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 0; client_body_buffer_size 16m;
  keepalive_timeout 3600; keepalive_requests 1000000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    {listen}
    location /exported/ {{ default_type application/json; root {folder}; rewrite ^ /upstreams break; }}
    location /api/v1/ {{ default_type application/json; root {folder}; rewrite ^ /upstreams break; }}
    location / {{ default_type application/json; {answer} }}
    location = /answer {{ internal; root {folder}; default_type application/json; }}
  }}
}}
"""
_ANSWER = '[{"score": 0.5}]'
_FROM_MEMORY = f"return 200 '{_ANSWER}';"
# nginx serves files only for GET, so the file is its error page for a POST.
_FROM_FILE = "error_page 418 =200 /answer; return 418;"


@contextlib.contextmanager
def nginx(instances: int = 3, core: int | None = None, *, response_bytes: int = 16) -> Iterator[list[int]]:
    """Run nginx, and yield the ports on which it listens.

    Args:
        instances: Number of ports.
        core: The processor on which nginx runs; `None` for any.
        response_bytes: Length of a response's body. A body of 16 bytes is sent from memory, any other from a file.
    """
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        sys.exit("benchmarks: nginx is not installed; on Debian: apt-get install nginx-light")
    ports = _free_ports(instances)
    rows = [{"app": "bench", "ip": "127.0.0.1", "port": port, "weight": 100} for port in ports]
    upstreams = json.dumps({"correlative": ["bench"], "endpoints": {"items": rows}})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "nginx.conf"
        listen = " ".join(f"listen 127.0.0.1:{port};" for port in ports)
        answer = _FROM_MEMORY if response_bytes == len(_ANSWER) else _FROM_FILE
        Path(folder).chmod(0o755)  # nginx reads the file as another user if it is started by root
        (Path(folder) / "answer").write_bytes(b"x" * response_bytes)
        (Path(folder) / "upstreams").write_text(upstreams)  # a file, because nginx limits the text of `return`
        file.write_text(_CONFIGURATION.format(folder=folder, listen=listen, answer=answer))
        server = subprocess.Popen([program, "-c", str(file), "-e", f"{folder}/error.log"])
        try:
            if core is not None:
                os.sched_setaffinity(server.pid, {core})
            _wait_for(ports[0])
            yield ports
        finally:
            server.terminate()
            server.wait(10)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [taken.getsockname()[1] for taken in sockets]


def _wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)  # nginx does not report when it listens, so its ports are polled
    sys.exit(f"benchmarks: nginx did not begin to listen on port {port}")
