"""HTTP: the upload path as raw ASGI, in front of a FastAPI app for everything else.

The upload path is called thousands of times a second and FastAPI would cost more than the work
itself, so it is answered before the framework is asked.
"""

import asyncio
import hashlib
from http import HTTPStatus

import fastapi
import msgspec
from fastapi import Request, Response
from starlette.exceptions import HTTPException

from ingest.explain import Explainer, Report
from ingest.grant_issue import ASK_BYTES_MAX, GrantIssuer
from ingest.http_answer import problem_headers, problem_of, send_problem, send_receipt
from ingest.http_body import ClientGoneError, Receive, RequestReader, Scope, Send
from ingest.issue import Issue
from ingest.openapi import describe_upload
from ingest.receipt import UploadRefused
from ingest.receive import Receiver
from ingest.releases import ReleaseConfigs
from ingest.status import status_of
from ingest.tuf_issue import TIMESTAMP
from wire.errors import PermanentError, TransientError

UPLOAD_PATH = "/v1/telemetry"
_REST = ("/livez", "/readyz", "/v1/releases/", "/v1/tuf/", "/v1/grants", f"{UPLOAD_PATH}:validate")
_CONFIG_FRESH_S = 30
_ETAG_HEX = 32


class HttpIngest:
    """The ASGI app."""

    def __init__(
        self,
        receiver: Receiver,
        reader: RequestReader,
        releases: ReleaseConfigs,
        issuer: GrantIssuer,
    ) -> None:
        self._receiver = receiver
        self._reader = reader
        self._rest = make_rest(receiver, reader, releases, issuer)
        self.openapi = msgspec.json.encode(self._rest.openapi())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == UPLOAD_PATH:
            await self._upload(scope, receive, send)
        elif scope["type"] == "http" and not scope["path"].startswith(_REST):
            # before the framework is asked, and the last answer of its connection: cheap to give
            await send_problem(send, _PATH_UNKNOWN, is_body_read=False)
        else:
            await self._rest(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_body_read = False
        try:
            sent = await self._reader.upload(scope, receive)
            is_body_read = True
            outcome = await self._receiver.receive(sent.encoding, sent.body, sent.app_id)
        except ClientGoneError:
            return
        except TransientError as error:
            await send_problem(send, error, is_body_read=is_body_read)
        except PermanentError as error:
            self._receiver.count_refused(error.code)
            await send_problem(send, error, is_body_read=is_body_read)
        else:
            if isinstance(outcome, UploadRefused):
                await send_problem(send, outcome.error, is_body_read=True)
            else:
                await send_receipt(send, outcome, sent.encoding)


_PATH_UNKNOWN = PermanentError(
    "path_unknown", "there is nothing here", accepted="the paths of /openapi.json"
)


def make_rest(
    receiver: Receiver, reader: RequestReader, releases: ReleaseConfigs, issuer: GrantIssuer
) -> fastapi.FastAPI:
    """Health, release configs, grants, validation; `ingest.health` has what is not for phones."""
    app = fastapi.FastAPI(
        title="Holdfast ingest",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # to an address made of whatever Host the client says
    )
    describe_upload(app, UPLOAD_PATH)
    _add_problems(app)
    _add_health(app, receiver)
    _add_releases(app, receiver, releases)

    @app.post("/v1/grants", summary="Ids under which a phone's units count")
    async def grants(request: Request) -> Response:
        app_id, body = await reader.question(request.scope, request.receive, ASK_BYTES_MAX)
        address = request.client.host if request.client else ""
        return Response(issuer.answer(app_id, address, body), media_type="application/json")

    explainer = Explainer(receiver)

    @app.post(f"{UPLOAD_PATH}:validate", summary="What would happen to this upload")
    async def validate(request: Request) -> Response:
        sent = await reader.upload(request.scope, request.receive)
        report: Report = await explainer.explain(sent)
        return Response(report.to_json(), media_type="application/json")

    return app


def _add_health(app: fastapi.FastAPI, receiver: Receiver) -> None:
    @app.get("/livez", summary="Is the process alive?")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", summary="Can an upload be taken now?")
    async def readyz(response: Response) -> dict[str, str]:
        reason = receiver.why_not_ready()
        response.status_code = 503 if reason else 200
        return {"status": reason or "ready"}


def _add_releases(app: fastapi.FastAPI, receiver: Receiver, releases: ReleaseConfigs) -> None:
    @app.get("/v1/releases/keys", summary="The public key that release configs are signed with")
    async def public_keys() -> dict[str, list[dict[str, str]]]:
        return {"keys": [{"algorithm": "ed25519", "public_key": releases.signer.public_key}]}

    async def issue_of(app_id: str) -> Issue:
        desired = receiver.desired.current()
        if desired is None:
            raise receiver.admission.come_back("desired_state_missing", "nothing was read yet")
        now_ms = receiver.now_ms()
        ready = releases.ready(app_id, desired, now_ms)
        if ready is not None:
            return ready
        return await asyncio.to_thread(releases.of, app_id, desired, now_ms)

    @app.get("/v1/releases/{app_id}", summary="Which versions the phones of this app run")
    async def release_config(app_id: str, request: Request) -> Response:
        issue = await issue_of(app_id)
        headers = {
            "etag": issue.etag,
            "cache-control": f"public, max-age={_CONFIG_FRESH_S}",
            "holdfast-signature": issue.signature,
        }
        return _unless_known(request, issue.body, headers)

    @app.get("/v1/tuf/{app_id}/{kind}/{name}", summary="The same as a TUF repository")
    async def tuf_file(app_id: str, kind: str, name: str, request: Request) -> Response:
        path = f"{kind}/{name}"
        content = releases.file(await issue_of(app_id), path)
        if content is None:
            raise PermanentError(
                "tuf_file_unknown", "the repository has no such file", accepted="what TUF names"
            )
        headers = {
            "etag": f'"{hashlib.sha256(content).hexdigest()[:_ETAG_HEX]}"',
            "cache-control": f"public, max-age={_CONFIG_FRESH_S}"
            if path == TIMESTAMP
            else "public, max-age=31536000, immutable",
        }
        return _unless_known(request, content, headers)


def _unless_known(request: Request, content: bytes, headers: dict[str, str]) -> Response:
    etag = headers["etag"]
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or f"W/{etag}" in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def _add_problems(app: fastapi.FastAPI) -> None:
    @app.exception_handler(PermanentError)
    @app.exception_handler(TransientError)
    async def problem(request: Request, error: PermanentError | TransientError) -> Response:
        headers = {name.decode(): value.decode() for name, value in problem_headers(error)}
        return fastapi.responses.JSONResponse(
            problem_of(error),
            status_of(error).http,
            headers=headers,
            media_type="application/problem+json",
        )

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return await problem(request, _PATH_UNKNOWN)
        taken = (error.headers or {}).get("Allow", "GET")
        refused = PermanentError(
            "method_not_allowed", "this path takes other methods", accepted=taken
        )
        answer = await problem(request, refused)
        answer.headers["allow"] = taken
        return answer

    @app.exception_handler(ClientGoneError)
    async def gone(request: Request, error: ClientGoneError) -> Response:
        return Response(status_code=400)
