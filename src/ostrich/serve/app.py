"""The routes of the playground: the page, images by ids, jobs that answer by events, and what is saved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ostrich.crashtest import report
from ostrich.errors import OstrichError
from ostrich.images import picture
from ostrich.runtime.files import json_line
from ostrich.serve.facts import facts_of
from ostrich.serve.guard import Guard, entered, is_token
from ostrich.serve.jobs import JOBS
from ostrich.serve.jobs.asked import ImageId
from ostrich.serve.playground import Playground
from ostrich.serve.uploads import Intake, body_of
from ostrich.serve.worker import Busy, Job, Worker
from ostrich.verbs.outcome import as_png

HERE = Path(__file__).parent
STYLE = Path(report.__file__).parent / "assets" / "report.css"  # one design for reports and this page
MOST_ASKED = 256 * 1024  # bytes of a wish


class Wish(BaseModel):
    """The body of a job's request: which page asks, and what."""

    model_config = ConfigDict(extra="forbid")
    page: str = Field(pattern=r"^[0-9a-f]{16}$")
    asked: dict[str, Any] = {}


class Saving(BaseModel):
    """The body of a request to save a failure with its proof."""

    model_config = ConfigDict(extra="forbid")
    image: ImageId


def application(
    playground: Playground, *, token: str, hosts: Iterable[str], any_address: int | None = None
) -> Starlette:
    """The playground as an ASGI application. `hosts` and `any_address` are what it goes by, as in Guard."""
    routes = [
        Route("/", _page),
        Route("/enter", _enter, methods=["GET", "POST"]),
        Route("/facts", _facts),
        Route("/images/{name}.png", _image),
        Route("/images", _upload, methods=["POST"]),
        Route("/jobs/{name}", _job, methods=["POST"]),
        Route("/stop", _stop, methods=["POST"]),
        Route("/saved", _save, methods=["POST"]),
        Route("/saved/{name}/{kind}", _saved),
        Route("/assets/report.css", lambda request: FileResponse(STYLE, media_type="text/css")),
        Mount("/assets", StaticFiles(directory=HERE / "assets")),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.worker, app.state.intake = Worker(), Intake()
        yield
        await run_in_threadpool(app.state.worker.close)

    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard, token=token, hosts=hosts, any_address=any_address)],
        exception_handlers={
            OstrichError: _refused,
            ValidationError: _malformed,
            json.JSONDecodeError: _malformed,
            UnicodeDecodeError: _malformed,
            ClientDisconnect: _left,
        },
    )
    app.state.playground, app.state.token = playground, token
    return app


async def _page(request: Request) -> Response:
    template = _templates().get_template("playground.html.j2")
    return HTMLResponse(template.render(name=request.app.state.playground.classifier.name))


async def _enter(request: Request) -> Response:
    """A form for the token, or the password, where the address did not bring it."""
    wrong = False
    if request.method == "POST":
        given = parse_qs((await body_of(request, 4096)).decode()).get("token", [""])[0]
        if is_token(given, request.app.state.token):
            return entered(request.app.state.token)
        wrong = True
        await asyncio.sleep(0.5)  # who guesses is slow
    page = _templates().get_template("enter.html.j2").render(wrong=wrong)
    return HTMLResponse(page, HTTPStatus.FORBIDDEN if wrong else HTTPStatus.OK)


async def _facts(request: Request) -> Response:
    return JSONResponse(await run_in_threadpool(facts_of, request.app.state.playground))


async def _image(request: Request) -> Response:
    image = request.app.state.playground.image(request.path_params["name"])
    return Response(as_png(picture(image[0])), media_type="image/png")


async def _upload(request: Request) -> Response:
    playground: Playground = request.app.state.playground
    image = await request.app.state.intake.image(request, playground.classifier)
    return JSONResponse({"image": playground.keep(image, "u")})


async def _job(request: Request) -> Response:
    """Do what is asked, and answer by events."""
    playground: Playground = request.app.state.playground
    name = request.path_params["name"]
    if name not in JOBS:
        return PlainTextResponse("There is no such job.", HTTPStatus.NOT_FOUND)
    wish = Wish.model_validate(json.loads(await body_of(request, MOST_ASKED)))
    kind, do = JOBS[name]
    asked = kind.model_validate(wish.asked)

    def work(job: Job) -> None:
        playground.answered(asked, job, lambda recorder: do(playground, asked, recorder))

    job = request.app.state.worker.submit(wish.page, work)

    async def stream() -> AsyncIterator[str]:
        async for event in job.events():
            yield f"data: {json_line(event)}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


async def _stop(request: Request) -> Response:
    """Let a page's job end with what there is by now."""
    wish = Wish.model_validate(json.loads(await body_of(request, 4096)))
    request.app.state.worker.stop(wish.page)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _save(request: Request) -> Response:
    """Write a failure and its proof into the run folder."""
    playground: Playground = request.app.state.playground
    name = Saving.model_validate(json.loads(await body_of(request, 4096))).image
    folder = await run_in_threadpool(playground.save, name)
    return JSONResponse(
        {"folder": str(folder), "picture": f"/saved/{name}/picture", "proof": f"/saved/{name}/proof"}
    )


async def _saved(request: Request) -> Response:
    """What was saved, as a download."""
    path = request.app.state.playground.saved_file(request.path_params["name"], request.path_params["kind"])
    return FileResponse(path, filename=f"{request.path_params['name']}-{path.name}")


async def _refused(_request: Request, error: Exception) -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE if isinstance(error, Busy) else HTTPStatus.BAD_REQUEST
    return PlainTextResponse(str(error), status)


async def _malformed(_request: Request, error: Exception) -> Response:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return PlainTextResponse(f"{place}: {first['msg']}", HTTPStatus.UNPROCESSABLE_ENTITY)
    return PlainTextResponse("That is no JSON.", HTTPStatus.BAD_REQUEST)


async def _left(_request: Request, _error: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)


def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )
