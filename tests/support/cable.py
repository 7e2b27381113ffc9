"""A cable between a client and a server on loopback, which can be cut at a chosen byte."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from rbee.adapters.notify import bind_socket

_PIECE = 1 << 16


class Cable:
    """Passes bytes on in both directions.

    Attributes:
        port: where to connect instead.
        lose_answer: once the server says this, the client does not hear it but is cut off.
        lose_question: once the client says this, the server does not hear it, and both are cut off.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._listening = bind_socket("127.0.0.1:0")
        self.port = int(self._listening.getsockname()[1])
        self.lose_answer: bytes | None = None
        self.lose_question: bytes | None = None
        self.cuts = 0
        self._servers: list[socket.socket] = []
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Let every client lose its connection; the server is told nothing, and keeps its sessions."""
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()
        for each in (*self._clients, *self._servers):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.setblocking(True)
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._clients.append(client)
                self._servers.append(server)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(_PIECE):
                if self.lose_question is not None and self.lose_question in piece:
                    self.lose_question = None
                    self._hang_up(client)
                    server.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(piece)

    def _hang_up(self, client: socket.socket) -> None:
        self.cuts += 1
        client.shutdown(socket.SHUT_RDWR)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(_PIECE):
                if self.lose_answer is not None and self.lose_answer in piece:
                    self.lose_answer = None
                    self._hang_up(client)
                    return
                client.sendall(piece)


@contextlib.contextmanager
def cable(to: int) -> Iterator[Cable]:
    made = Cable(to)
    try:
        yield made
    finally:
        made.close()
