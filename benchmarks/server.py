"""Serves the pages: nginx where it is installed, else a small server of our own.

Both run as processes of their own, keep connections alive and hand files to
the kernel, so that what is measured is the client. Their CPU is reported apart.

Our own is `python -m benchmarks.server FOLDER PORT`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

HOST = "127.0.0.1"
DELAY_S = 0.1
"""How long a page under slow/ and addressable/ takes; `/delay/MS/...` takes what it says."""
ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
STARTUP_S = 10
_TARGET = re.compile(rb"GET /(?:delay/(\d+)/)?((api|slow|addressable)/\w+)(?:\?page=(\d+))? HTTP/1\.1\r\n")


@dataclass(frozen=True)
class PageServer:
    """A running server: where it listens, what it is, whom to ask for its CPU time."""

    base_url: str
    kind: str
    pid: int

    def cpu_s(self) -> float:
        """CPU seconds that the server and its workers have used so far."""
        return sum(map(_cpu_s, (self.pid, *_children(self.pid))))


@contextmanager
def serve(folder: Path, port: int, *, kind: str | None = None) -> Iterator[PageServer]:
    """A server of the pages under *folder* on 127.0.0.1:*port* while the block runs.

    Raises:
        OSError: The port is taken, or the server did not come up within 10 s.
    """
    _refuse_taken(port)
    kind = kind or ("nginx" if shutil.which("nginx") and ECHO_MODULE.exists() else "bundled")
    command = _nginx(folder, port) if kind == "nginx" else _bundled(folder, port)
    process = subprocess.Popen(command, start_new_session=True)
    try:
        _wait_until_up(process, port)
        yield PageServer(f"http://{HOST}:{port}", kind, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise OSError(f"port {port} is taken: name another one with --port")


def _wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise OSError(f"the page server did not come up on port {port}")


def _bundled(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.server", str(folder.resolve()), str(port)]


def _nginx(folder: Path, port: int) -> list[str]:
    folder = folder.resolve()
    scratch = folder / "nginx"
    scratch.mkdir(parents=True, exist_ok=True)
    file = scratch / "nginx.conf"
    file.write_text(_nginx_conf(folder, port))
    return ["nginx", "-p", str(scratch), "-e", "stderr", "-c", str(file)]


def _nginx_conf(folder: Path, port: int) -> str:
    temporary = "\n".join(
        f"  {what}_temp_path tmp_{what};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""\
load_module {ECHO_MODULE};
{user}
daemon off; worker_processes 1; pid nginx.pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
{temporary}
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000;
  open_file_cache max=10000; default_type application/json;
  map $arg_page $page {{ "" 1; default $arg_page; }}
  server {{
    listen {HOST}:{port};
    location /stored/ {{ internal; alias {folder}/; }}
    location ~ ^/(api/\\w+)$ {{ alias {folder}/$1/$page.json; }}
    location ~ ^/((?:slow|addressable)/\\w+)$ {{ echo_sleep {DELAY_S}; echo_exec /stored/$1/$page.json; }}
    location ~ ^/delay/0/((?:api|slow|addressable)/\\w+)$ {{ alias {folder}/$1/$page.json; }}
    location ~ ^/delay/20/((?:api|slow|addressable)/\\w+)$ {{ echo_sleep 0.02; echo_exec /stored/$1/$page.json; }}
    location ~ ^/delay/100/((?:api|slow|addressable)/\\w+)$ {{ echo_sleep 0.1; echo_exec /stored/$1/$page.json; }}
  }}
}}
"""


class _Pages(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256


class _Connection(StreamRequestHandler):
    """One kept-alive connection: a request line in, a file out through sendfile."""

    disable_nagle_algorithm = True
    folder = Path()

    def handle(self) -> None:
        """Answer until the client hangs up."""
        while line := self.rfile.readline():
            while self.rfile.readline() not in {b"\r\n", b""}:
                pass
            try:
                self._answer(line)
            except OSError:
                return

    def _answer(self, line: bytes) -> None:
        target = _TARGET.fullmatch(line)
        file = self.folder / target[2].decode() / f"{int(target[4] or 1)}.json" if target else self.folder / "none"
        if target is None or not file.is_file():
            self.connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        delay_s = int(target[1]) / 1000 if target[1] else DELAY_S * (target[3] != b"api")
        if delay_s:
            time.sleep(delay_s)
        with file.open("rb") as page:
            size = os.fstat(page.fileno()).st_size
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size
            self.connection.sendall(head, socket.MSG_MORE)
            self.connection.sendfile(page)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def main() -> None:
    """Serve FOLDER on PORT until terminated."""
    folder, port = sys.argv[1:3]
    _Connection.folder = Path(folder)
    with _Pages((HOST, int(port)), _Connection) as pages:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        pages.serve_forever()


if __name__ == "__main__":
    main()
