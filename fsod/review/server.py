"""The server of ``fsod review``: one page, on this machine alone, for whoever has its address.

The address holds a token that is drawn anew each time. Requests without it, and those that call this machine by another name
than its own, get nothing, so that no page in a browser can reach a review under a name that leads here. The page may load
from here and from nowhere else.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import uvicorn
from pydantic import BaseModel, Field, FiniteFloat, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fsod.errors import UserError, first_problem
from fsod.review.cut_outs import MOST_PX
from fsod.review.session import Session
from fsod.scene_map import SCENE_MAP

HOST = "127.0.0.1"
MOST_BYTES = 1_000_000
"""Of a request: an outline of ten thousand corners has a tenth."""

PAGE = Path(__file__).parent / "page"
_KINDS = {".js": "text/javascript", ".css": "text/css"}
_FILES = {path.name: path for folder in (PAGE, SCENE_MAP) for path in folder.iterdir() if path.suffix in _KINDS}

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Asked = TypeVar("Asked", bound=BaseModel)
Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
Corner = tuple[FiniteFloat, FiniteFloat]


class Change(BaseModel):
    """What changes the layer that a page shows.

    Attributes:
        layer: its name. Where a round has ended in another tab it is another one, and so are the features of these ids.
    """

    layer: str


class Judge(Change):
    """A verdict on a feature."""

    id: int
    verdict: Literal["yes", "no", ""]


class Outline(Change):
    """The new box of a feature, or an object that was missed."""

    box_xyxy_px: Box
    id: int | None = None
    class_name: Annotated[str, Field(max_length=200)] = ""


class Erase(Change):
    """A drawn object that is to go, or an area by its position."""

    id: int | None = None
    area: int | None = None


class Area(Change):
    """The outline of an area."""

    ring_px: Annotated[list[Corner], Field(min_length=3, max_length=10_000)]


class Learn(Change):
    """How long to learn."""

    minutes: Annotated[float, Field(ge=0.05, le=600)] = 2.0


class Undo(Change):
    """The last change is taken back."""


class Nothing(BaseModel):
    """A request that says all by its address."""


def review_app(session: Session, token: str) -> Starlette:
    """The page and what it asks for, below ``/TOKEN/``."""

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "review.html")

    async def file(request: Request) -> Response:
        path = _FILES.get(request.path_params["name"])
        return Response(status_code=404) if path is None else FileResponse(path, media_type=_KINDS[path.suffix])

    async def layer(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(session.reread))

    async def piece(request: Request) -> Response:
        try:
            left, top, right, bottom = (int(side) for side in request.path_params["xyxy"].split(","))
        except ValueError:
            return Response(status_code=404)
        side_px = int(request.path_params["side"])
        if not (0 < right - left == bottom - top and 0 < side_px <= MOST_PX):
            return Response(status_code=404)
        content = await run_in_threadpool(session.pictures.jpeg, (left, top, right, bottom), side_px)
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    async def judge(request: Request) -> Response:
        asked = await _asked(request, Judge)
        return await _changed(asked, lambda: session.layer.judge(asked.id, asked.verdict), asked.id)

    async def box(request: Request) -> Response:
        asked = await _asked(request, Outline)
        sides = np.array(asked.box_xyxy_px, np.float64)
        if asked.id is None:
            return await _changed(asked, lambda: session.layer.draw(asked.class_name, sides))
        feature = asked.id
        return await _changed(asked, lambda: session.layer.mend(feature, sides), feature)

    async def erase(request: Request) -> Response:
        asked = await _asked(request, Erase)
        feature, area = asked.id, asked.area
        if feature is not None:
            return await _changed(asked, lambda: session.layer.erase(feature), feature)
        return await _changed(asked, lambda: session.layer.erase_area(-1 if area is None else area))

    async def area(request: Request) -> Response:
        asked = await _asked(request, Area)
        return await _changed(asked, lambda: session.layer.draw_area(np.array(asked.ring_px, np.float64)))

    async def undo(request: Request) -> Response:
        return await _changed(await _asked(request, Undo), lambda: session.layer.undo())

    async def learn(request: Request) -> Response:
        asked = await _asked(request, Learn)
        await run_in_threadpool(session.learn, asked.minutes, asked.layer)
        return JSONResponse(session.progress())

    async def progress(request: Request) -> Response:
        return JSONResponse(session.progress())

    async def stop(request: Request) -> Response:
        await _asked(request, Nothing)
        await run_in_threadpool(session.learning.stop)
        return JSONResponse(session.progress())

    async def _changed(asked: Change, change: Callable[[], Any], feature: int | None = None) -> Response:
        """Makes a change and answers with what is different now."""

        def locked() -> dict[str, Any]:
            with session.lock:
                session.check_shown(asked.layer)
                made = change()
                ids = [feature if feature is not None else made if isinstance(made, int) else getattr(made, "id", None)]
                now = session.layer.found
                return {
                    "changed": {one: now.get(one) and vars(now[one]) for one in ids if one is not None},
                    "areas": session.areas(),
                    "changes": session.layer.changes,
                    "undoable": session.layer.undoable,
                    "undone": getattr(made, "what", ""),
                }

        return JSONResponse(await run_in_threadpool(locked))

    def get(path: str, answer: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(f"/{token}/{path}", answer, methods=["GET"])

    def post(path: str, answer: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(f"/{token}/{path}", answer, methods=["POST"])

    routes = [
        *(get("", page), get("files/{name}", file), get("layer", layer), get("piece/{xyxy}/{side:int}.jpg", piece)),
        *(post("judge", judge), post("box", box), post("erase", erase), post("area", area), post("undo", undo)),
        *(post("learn", learn), get("progress", progress), post("stop", stop)),
    ]
    guards = [
        Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False),
        Middleware(OnlyWithToken, token=token),
    ]
    return Starlette(routes=routes, middleware=guards, exception_handlers={UserError: _said, Unreadable: _said})


class OnlyWithToken:
    """Answers only what lies below ``/TOKEN/``, and puts the headers of a closed page on every answer."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Of the application that answers."""
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((key.encode().lower(), value.encode()) for key, value in _HEADERS.items()),
                ]
            await send(message)

        given = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        known = secrets.compare_digest(given.encode(errors="replace"), self._token)
        await (self._app if known else Response(status_code=404))(scope, receive, closed)


class Unreadable(Exception):
    """A request that is not what the page sends."""


async def _asked(request: Request, kind: type[Asked]) -> Asked:
    """What a request asks for. Only JSON is read: no form of another page can send it."""
    if request.headers.get("content-type") != "application/json":
        raise Unreadable("the request is not JSON")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST_BYTES:
            raise Unreadable("the request is too long")
    try:
        return kind.model_validate_json(content or b"{}")
    except ValidationError as error:
        raise Unreadable(first_problem(error)) from error


def _said(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def serve(session: Session, port: int | None, ready: Callable[[str], None]) -> None:
    """Serves a review until Ctrl-C.

    Args:
        session: to be reviewed; closed at the end.
        port: on 127.0.0.1; any free one if None.
        ready: is told the address as soon as it answers.

    Raises:
        UserError: the port is taken.
    """
    token = secrets.token_urlsafe(24)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port or 0))
        except OSError as error:
            raise UserError(f"--port {port}: is taken; choose another, or leave it out") from error
        listening.listen()
        ready(f"http://{HOST}:{listening.getsockname()[1]}/{token}/")
        settings = uvicorn.Config(review_app(session, token), log_level="error", access_log=False, lifespan="off")
        try:
            uvicorn.Server(settings).run(sockets=[listening])
        finally:
            session.close()
