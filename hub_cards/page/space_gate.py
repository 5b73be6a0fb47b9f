"""What the page's server lets in: the addresses that a page needs, and uploads of a bounded size, time and number."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

from starlette.formparsers import MultiPartException
from starlette.responses import PlainTextResponse

UPLOADS = 32  # at the same time
UPLOAD_SECONDS = 120  # of one
ENVELOPE_BYTES = 2**16  # of an upload beside the file itself
UPLOAD = "/gradio_api/upload"
OPEN = re.compile(
    r"/|/(?:config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|(?:assets|static|svelte)/.*"
    r"|gradio_api/(?:info|app_id|startup-events|upload|upload_progress|heartbeat/.*|queue/(?:join|data)|cancel|reset"
    r"|call/recognise(?:/\w+)?|stream/\w+(?:/close)?|file=(?!\w+:/).*))/?",
    re.DOTALL,
)


class Gate:
    """ASGI middleware before Gradio, which has many more addresses than the page needs, and no such bounds of its own.

    Args:
        app: what is behind.
        largest: bytes of a recording.
        folder: where Gradio writes an upload until it is whole.
    """

    def __init__(self, app: Any, largest: int, folder: Path):
        self.app, self.largest, self.folder = app, largest, folder
        self.uploads = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers what is refused, and hands on the rest."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http" or not OPEN.fullmatch(scope["path"]):
            await PlainTextResponse("not found", 404)(scope, receive, send)
        elif scope["path"].rstrip("/") != UPLOAD:
            await self.app(scope, receive, send)
        elif self.uploads >= UPLOADS:
            await PlainTextResponse("too many uploads at once: try again", 503)(scope, receive, send)
        else:
            await self._upload(scope, receive, send)

    async def _upload(self, scope: Any, receive: Any, send: Any) -> None:
        self.uploads += 1
        try:
            await self.app(scope, Upload(receive, self.largest + ENVELOPE_BYTES), send)
        finally:
            self.uploads -= 1
            if not self.uploads:  # whole recordings lie in folders: a file is what an upload left that ended early
                for path in self.folder.glob("tmp*"):
                    path.unlink(missing_ok=True)


class Upload:
    """The messages of one upload; if it is cut off, too large or too slow, an error after which Gradio tidies up."""

    def __init__(self, receive: Any, largest: int):
        self.receive, self.left = receive, largest
        self.deadline, self.is_whole = time.monotonic() + UPLOAD_SECONDS, False

    async def __call__(self) -> dict[str, Any]:
        """The next message."""
        if self.is_whole:
            return await self.receive()
        try:
            message = await asyncio.wait_for(self.receive(), max(0, self.deadline - time.monotonic()))
        except TimeoutError as error:
            raise MultiPartException(f"the upload took more than {UPLOAD_SECONDS} seconds") from error
        if message["type"] == "http.disconnect":
            raise MultiPartException("the upload was cut off")
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            raise MultiPartException("the upload exceeds the maximum allowed size")
        self.is_whole = not message.get("more_body", False)
        return message
