"""Serve a Sanic application on a loopback port inside the test's own event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sanic import Sanic

from rbee.adapters.notify import bind_socket
from rbee.daemon.app import App


@contextlib.asynccontextmanager
async def served(app: App) -> AsyncIterator[str]:
    """Yield the base URL of ``app`` while it serves; its listeners run as under systemd."""
    Sanic._app_registry.pop(app.name, None)
    Sanic.register_app(app)
    app.config.TOUCHUP = False  # it rewrites Sanic's classes, which works once a process
    sock = bind_socket("127.0.0.1:0")
    server = await app.create_server(sock=sock, return_asyncio_server=True)
    assert server is not None
    await server.startup()
    await server.before_start()
    await server.after_start()
    host, port = sock.getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        try:
            await server.before_stop()
            await server.close()
            await server.after_stop()
        finally:
            app.shutdown_tasks(0)
            Sanic._app_registry.pop(app.name, None)
            await asyncio.sleep(0)
