"""HTTP/1.1 that loses no request while the daemon stops."""

from typing import Any

from sanic.http import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

NEWCOMER_S = 1.0
"""How long a connection accepted just before the end may take to say what it wants."""

_LOOK_AGAIN_S = 0.02


class PatientProtocol(HttpProtocol):
    """Sanic's own closes each connection that is between requests when the daemon stops, and leaves the others open.

    One accepted a moment before, its request still on the way or unread in the buffer, would be lost: the listening
    socket is systemd's and lives on, this connection is ours. So it is heard, answered, and closed after its answer,
    as is one that was busy: a client that keeps its connection must not hold up the end.
    """

    __slots__ = ("_heard",)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._heard = False

    def data_received(self, data: bytes) -> None:
        self._heard = True
        super().data_received(data)

    def close_if_idle(self) -> bool:
        """Sanic calls this once for each connection, after it stopped accepting."""
        self._leave(self.loop.time() + NEWCOMER_S)
        return self._gone

    @property
    def _gone(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    def _leave(self, patience_ends: float) -> None:
        if self._gone:
            return
        idle = self.http is not None and self.http.stage is Stage.IDLE and not self.recv_buffer
        if idle and (self._heard or self.loop.time() >= patience_ends):
            self.close()
        else:
            self.loop.call_later(_LOOK_AGAIN_S, self._leave, patience_ends)
