"""A proxy that breaks connections: after so many bytes, or now and then, or with a 503."""

from __future__ import annotations

import random
import socket
import struct
from contextlib import suppress
from threading import Lock, Thread

BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class CuttingProxy:
    """Forwards one port to another, and does harm on the way.

    ``every``: each connection is reset once so many bytes came from the server. ``share``: that
    share of connections is not forwarded; half of these are reset, half get an HTTP 503. ``cuts``
    counts.
    """

    def __init__(self, port: int, *, every: int = 1 << 62, share: float = 0.0) -> None:
        self.target = port
        self.every = every
        self.share = share
        self.cuts = 0
        self.received = 0
        self._random = random.Random(17)
        self._lock = Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(client)
            Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._random.random() < self.share:
                self._harm(client)
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            Thread(target=self._forward, args=(client, server), daemon=True).start()
            self._back(client, server)
            server.close()

    def _harm(self, client: socket.socket) -> None:
        self._count()
        if self._random.random() < 0.5:
            client.recv(1 << 16)
            client.sendall(BUSY)
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass
            client.close()
        else:
            self._reset(client)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        left = self.every
        while data := server.recv(min(1 << 16, left)):
            client.sendall(data)
            left -= len(data)
            with self._lock:
                self.received += len(data)
            if not left:
                self._count()
                self._reset(client)
                return
        client.close()

    def _reset(self, client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            client.shutdown(socket.SHUT_RD)  # while somebody waits for it, closing would not end it
        client.close()

    def _count(self) -> None:
        with self._lock:
            self.cuts += 1
