"""Peers that take connections, and then do not what a server does: for whatever has a time limit."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Manners = Callable[["HostilePeer", socket.socket], None]


class HostilePeer:
    """Treats every connection by its manners, which may change; `url` is where it listens."""

    def __init__(self, manners: Manners, *, pause: float = 0.05) -> None:
        self.manners = manners
        self.pause = pause
        self.met = 0
        self.over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.over.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # or accept() would go on waiting
        self._socket.close()

    def drip(self, connection: socket.socket, data: bytes) -> None:
        """Send *data* a byte at a time."""
        for byte in data:
            connection.sendall(bytes([byte]))
            if self.over.wait(self.pause):
                return

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.met += 1
            threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.manners(self, connection)


@contextmanager
def hostile(manners: Manners, *, pause: float = 0.05) -> Iterator[HostilePeer]:
    """A peer with these manners, for the length of the block."""
    peer = HostilePeer(manners, pause=pause)
    try:
        yield peer
    finally:
        peer.close()


def read_request(connection: socket.socket) -> bytes:
    """Read a request up to the end of its body, and return its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = head.lower().split(b"\r\n")
    left = next((int(f[15:]) for f in fields if f.startswith(b"content-length:")), 0) - len(body)
    while left > 0:
        left -= len(connection.recv(65536)) or left
    return head


def silent(peer: HostilePeer, _connection: socket.socket) -> None:
    peer.over.wait()


def drips_headers(peer: HostilePeer, connection: socket.socket) -> None:
    read_request(connection)
    peer.drip(connection, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 60_000)


def drips_body(peer: HostilePeer, connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 500000\r\n\r\n')
    peer.drip(connection, b" " * 500_000)


def drips_body_to_the_end_of_the_connection(peer: HostilePeer, connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"code": 200} ')
    peer.drip(connection, b" " * 500_000)


def drips_chunks(peer: HostilePeer, connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not peer.over.wait(peer.pause):
        connection.sendall(b"1\r\n \r\n")


def chunk_without_end(peer: HostilePeer, connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not peer.over.is_set():
        connection.sendall(b"0" * 1_000_000)


def body_without_end(peer: HostilePeer, connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while not peer.over.is_set():
        connection.sendall(b" " * 1_000_000)


def headers_without_end(peer: HostilePeer, connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not peer.over.wait(peer.pause):
        connection.sendall(b"X-More: yes\r\n")


def continues_without_end(peer: HostilePeer, connection: socket.socket) -> None:
    read_request(connection)
    while not peer.over.wait(peer.pause):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def silent_after_100_continue(peer: HostilePeer, connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    peer.over.wait()


def reads_a_byte_a_time(peer: HostilePeer, connection: socket.socket) -> None:
    while connection.recv(1) and not peer.over.wait(peer.pause):
        pass


def redirects(peer: HostilePeer, connection: socket.socket) -> None:
    while not peer.over.is_set():
        read_request(connection)
        place = f"Location: {peer.url}/again\r\n".encode()
        connection.sendall(b"HTTP/1.1 307 Again\r\n" + place + b"Content-Length: 0\r\n\r\n")


NEVER_DONE: tuple[Manners, ...] = (
    silent,
    drips_headers,
    drips_body,
    drips_body_to_the_end_of_the_connection,
    drips_chunks,
    headers_without_end,
    continues_without_end,
    silent_after_100_continue,
    reads_a_byte_a_time,
)
"""With these, nothing but a deadline ends an exchange."""
