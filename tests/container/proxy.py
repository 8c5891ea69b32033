"""A proxy for HTTP and HTTPS that wants a password, as companies have them."""

import base64
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Proxy:
    url: str
    password: str
    seen: list[str] = field(default_factory=list)  # the hosts that were asked for


@contextmanager
def proxy(address: str, password: str) -> Iterator[Proxy]:
    """Run it at this address; its user is called ada."""
    allowed = "Basic " + base64.b64encode(f"ada:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def refuse(self) -> bool:
            if self.headers.get("Proxy-Authorization") == allowed:
                return False
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return True

        def do_CONNECT(self) -> None:
            if self.refuse():
                return
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port)), timeout=60) as server:
                self.send_response(200)
                self.end_headers()
                self.pump(host, server)

        def do_GET(self) -> None:
            if self.refuse():
                return
            url = urlsplit(self.path)
            path = url.path + (f"?{url.query}" if url.query else "")
            lines = [f"GET {path} HTTP/1.1", f"Host: {url.netloc}", "Connection: close"]
            lines += [f"{k}: {v}" for k, v in self.headers.items() if k in ("Range", "User-Agent")]
            with socket.create_connection((url.hostname, url.port or 80), timeout=60) as server:
                server.sendall("\r\n".join([*lines, "", ""]).encode())
                self.pump(url.hostname, server)

        def pump(self, host: str, server: socket.socket) -> None:
            """Carry bytes both ways until one side ends."""
            running.seen.append(host)
            self.close_connection = True
            self.wfile.flush()
            other = {server: self.connection, self.connection: server}
            with suppress(OSError):
                while True:
                    for source in select.select(list(other), [], [], 60)[0]:
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        other[source].sendall(data)

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer((address, 0), Handler) as server:
        url = f"http://ada:{password}@{address}:{server.server_address[1]}"
        running = Proxy(url, password)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield running
        finally:
            server.shutdown()
