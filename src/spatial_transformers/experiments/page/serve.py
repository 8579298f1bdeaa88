"""Serves the page: on this machine unless asked otherwise, and without any other machine's help.

Gradio would count its users and load fonts from elsewhere. The first is switched off; the second is
forbidden to browsers by a content security policy, along with all else that is not the page's own.
"""

import logging
import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spatial_transformers import InputError

from .pictures import LARGEST_FILE
from .view import Straightener

_POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(out: Path | None = None, *, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the page of a run, or of the digits that ship, until it is interrupted.

    Args:
        out: the run's folder.
        host: an address of this machine.
        port: 0 for any that is free.

    Raises:
        InputError: for a run that does not fit, and an address that cannot be used.

    """
    with _listening(host, port) as listener, TemporaryDirectory(prefix="stn-page-") as folder:
        # before gradio is imported
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["HF_HUB_OFFLINE"] = "1"
        import gradio  # noqa: F401 - named first where the extra is missing
        import uvicorn

        app = application(Straightener(out))
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listener.getsockname()[1]}/"
        print(f"{url}  (Ctrl-C ends it)", flush=True)
        if host not in _LOOPBACK:
            print("all who reach this machine can use it: it asks for no password", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        # pages that are still open are cut off at the end, which is no error to tell of
        logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
        server.run(sockets=[listener])


def application(straighten: Straightener) -> Any:
    """Return the page as an ASGI application."""
    import gradio
    from fastapi import FastAPI

    from . import layout

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gradio.mount_gradio_app(
        app,
        layout.page(straighten),
        path="/",
        theme=layout.theme(),
        css=layout.CSS,
        max_file_size=LARGEST_FILE,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=True,
    )
    return _Guarded(app)


class _Guarded:
    """Adds the content security policy to whatever an application answers."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY.encode())
                message = {**message, "headers": [*message.get("headers", ()), policy]}
            await send(message)

        await self.app(scope, receive, guarded)


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens."""
    if not 0 <= port < 1 << 16:
        raise InputError(f"--port {port} was asked for; give 0 to 65535")
    try:
        return socket.create_server((host, port), family=_family(host))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        raise InputError(
            f"{host}:{port} cannot be used ({reason}); give --port another, or 0 "
            "for any that is free, and as --host an address of this machine"
        ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
