"""The HTTP side: who asks, what for, within which bounds; the answer as ClickHouse would send it.

Nothing of SQL is known here. Every request but /ping needs user and password. A GET cannot change anything.
"""

import asyncio
import base64
import binascii
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from streamco.embedded.front.engine import Engine
from streamco.embedded.front.jobs import Answer, Job, Pieces, Table
from streamco.embedded.front.logins import Login, Logins
from streamco.embedded.front.overdue import Overdue
from streamco.embedded.front.turns import Turn, Turns
from streamco.embedded.front.wire import (
    Compressor,
    EngineError,
    chosen_encoding,
    decompressed,
    exception_block,
    too_large,
)
from streamco.embedded.settings import ClickHouseServer

# What a URL may say that is no setting of the engine.
TRANSPORT: Final = {
    "query", "database", "default_format", "query_id", "session_id", "session_timeout", "session_check", "quota_key",
    "user", "password", "role", "compress", "decompress", "buffer_size", "wait_end_of_query", "client_protocol_version",
    "send_progress_in_http_headers", "enable_http_compression", "http_headers_progress_interval_ms",
    "cancel_http_readonly_queries_on_client_close", "stacktrace", "log_comment",
}  # fmt: skip
_HASHING_WAIT_SECONDS: Final = 5.0
_KILL_AGAIN_SECONDS: Final = 1.0
_THROWN_AWAY: Final = 8
# Of who only reads: a statement, and nothing behind it (jobs.py has the bound of a statement).
_LONGEST_QUESTION_BYTES: Final = 1 << 20
_QUERY_ID: Final = re.compile(r"[ -~]{1,128}")


class Front:
    """Answers requests on one engine."""

    def __init__(self, engine: Engine, settings: ClickHouseServer) -> None:
        self._engine = engine
        self._settings = settings
        self._turns = Turns(settings.max_queries)
        self._logins = Logins(settings)
        self._overdue = Overdue(self._logins)
        self._hashing = asyncio.Lock()

    def application(self) -> Starlette:
        """What uvicorn serves."""
        routes = [
            Route("/ping", self._ping, methods=["GET", "HEAD"]),
            Route("/", self._handle, methods=["GET", "POST"]),
        ]
        return Starlette(routes=routes)

    async def _ping(self, _: Request) -> Response:
        return Response("Ok.\n")

    async def _handle(self, request: Request) -> Response:
        arguments = dict(request.query_params)
        if request.method == "GET" and "query" not in arguments:
            return Response("Ok.\n")
        query_id = str(uuid.uuid4())
        try:
            query_id = _query_id(arguments.get("query_id") or query_id)
            login = await self._login(request, arguments)
            turn = self._turns.turn(login)
        except EngineError as error:
            return failure(error, query_id)
        try:
            job = await self._job(request, arguments, login)
            await turn.begin()
            with self._overdue.watched(login):
                answer = await self._run(job, request)
            return self._response(answer, request, arguments, query_id, turn, login)
        except EngineError as error:
            turn.release()
            return failure(error, query_id)
        except ClientDisconnect:
            turn.release()
            return Response(status_code=499)
        except BaseException:
            turn.release()
            raise

    async def _run(self, job: Job, request: Request) -> Answer:
        """Run a job in a thread. If its client goes away before there is an answer, a query is ended."""
        running = asyncio.ensure_future(run_in_threadpool(self._engine.run, job))
        gone = asyncio.ensure_future(_client_gone(request))
        try:
            await asyncio.wait({running, gone}, return_when=asyncio.FIRST_COMPLETED)
            while not running.done():
                await run_in_threadpool(self._engine.kill, job.marker)
                await asyncio.wait({running}, timeout=_KILL_AGAIN_SECONDS)
            return await running
        finally:
            gone.cancel()

    async def _login(self, request: Request, arguments: dict[str, str]) -> Login:
        """Who asks. Raises EngineError."""
        user = request.headers.get("x-clickhouse-user") or arguments.get("user", "")
        password = request.headers.get("x-clickhouse-key") or arguments.get("password", "")
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, ValueError):
                user = ""
        if (known := self._logins.known(user, password)) is not None:
            return known
        # One at a time, and without a thread for those that wait: guessers cannot take the threads of queries.
        try:
            await asyncio.wait_for(self._hashing.acquire(), _HASHING_WAIT_SECONDS)
        except TimeoutError as error:
            raise EngineError(
                "Code: 202. DB::Exception: too many logins at once: try again. (TOO_MANY_SIMULTANEOUS_QUERIES)"
            ) from error
        try:
            if (known := self._logins.known(user, password)) is not None:
                return known  # another request has hashed it meanwhile
            return await run_in_threadpool(self._logins.verify, user, password)
        finally:
            self._hashing.release()

    async def _job(self, request: Request, arguments: dict[str, str], login: Login) -> Job:
        """What is asked. Raises EngineError."""
        limit = self._settings.max_body_bytes
        uploads = request.headers.get("content-type", "").startswith("multipart/form-data")
        if login.rights.read_only and not uploads:
            limit = min(limit, _LONGEST_QUESTION_BYTES)
        body, files = b"", []
        if uploads:
            if int(request.headers.get("content-length") or limit + 1) > limit:
                raise too_large(limit)
            form = await request.form(max_files=64, max_fields=1000, max_part_size=limit)
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    files.append((name, await value.read()))
                else:
                    arguments[name] = value
        else:
            body = await self._body(request, limit)
        tables = tuple(
            Table(name, arguments.pop(f"{name}_structure", ""), arguments.pop(f"{name}_format", "TSV"), data)
            for name, data in files
        )
        settings = {
            name: value for name, value in arguments.items() if name not in TRANSPORT and not name.startswith("param_")
        }
        query = [arguments["query"].encode() + b"\n"] if "query" in arguments else []
        pieces: Iterator[bytes] = decompressed(body, request.headers.get("content-encoding", ""), limit)
        return Job(
            body=chain(query, pieces),
            settings=settings,
            parameters={name[6:]: value for name, value in arguments.items() if name.startswith("param_")},
            database=arguments.get("database") or request.headers.get("x-clickhouse-database"),
            default_format=arguments.get("default_format", "TabSeparated"),
            tables=tables,
            session=arguments.get("session_id"),
            session_seconds=_seconds(arguments.get("session_timeout", "60")),
            session_must_exist=arguments.get("session_check") == "1",
            may_stream=arguments.get("wait_end_of_query") != "1",
            read_only=request.method == "GET",
            rights=login.rights,
        )

    async def _body(self, request: Request, limit: int) -> bytes:
        """The whole body as it was sent, within the limit.

        A client that is told no while it still sends would see its connection break and not the answer: what is too
        large is read to its end, within another bound, and thrown away.
        """
        parts, total = [], 0
        async for part in request.stream():
            total += len(part)
            if total <= limit:
                parts.append(part)
            elif total > self._settings.max_body_bytes * _THROWN_AWAY:
                break
        if total > limit:
            raise too_large(limit)
        return b"".join(parts)

    def _response(
        self, answer: Answer, request: Request, arguments: dict[str, str], query_id: str, turn: Turn, login: Login
    ) -> Response:
        headers = {
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Timezone": self._engine.time_zone,
            "X-ClickHouse-Server-Display-Name": "streamco",
        }
        if answer.summary:
            headers["X-ClickHouse-Summary"] = json.dumps({name: str(count) for name, count in answer.summary.items()})
        if answer.format is not None:
            headers["X-ClickHouse-Format"] = answer.format
        wanted = arguments.get("enable_http_compression") == "1"
        encoding = chosen_encoding(request.headers.get("accept-encoding", "")) if wanted else ""
        if encoding:
            headers["Content-Encoding"] = encoding
        if isinstance(answer.body, Pieces):
            tag = uuid.uuid4().hex[:16]
            headers["X-ClickHouse-Exception-Tag"] = tag
            stream = self._stream(answer.body, Compressor(encoding), tag, turn, login)
            return StreamingResponse(stream, 200, headers, media_type="application/octet-stream")
        turn.release()
        compressor = Compressor(encoding)
        content = compressor.add(answer.body) + compressor.end() if encoding else answer.body
        return Response(content, 200, headers, media_type="application/octet-stream")

    async def _stream(
        self, pieces: Pieces, compressor: Compressor, tag: str, turn: Turn, login: Login
    ) -> AsyncIterator[bytes]:
        limits = login.rights.limits
        ending = None if limits is None else asyncio.ensure_future(_end(pieces, turn, limits.answer_seconds))
        try:
            while True:
                try:
                    with self._overdue.watched(login):
                        piece = await run_in_threadpool(pieces.next)
                except EngineError as error:
                    yield compressor.add(exception_block(error, tag)) + compressor.end()
                    return
                if piece is None:
                    break
                if sent := compressor.add(piece):
                    yield sent
            if rest := compressor.end():
                yield rest
        finally:
            if ending is not None:
                ending.cancel()
            turn.release()
            pieces.close()


async def _end(pieces: Pieces, turn: Turn, seconds: int) -> None:
    """End an answer whose client takes it too slowly: query and place are somebody else's then."""
    await asyncio.sleep(seconds)
    why = f"the answer was not fetched within {seconds} s: fetch less, or in parts"
    await run_in_threadpool(pieces.end, EngineError(f"Code: 159. DB::Exception: {why}. (TIMEOUT_EXCEEDED)"))
    turn.release()


async def _client_gone(request: Request) -> None:
    """Returns when the client has closed its connection. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        continue


def _query_id(text: str) -> str:
    """It comes back in a header."""
    if not _QUERY_ID.fullmatch(text):
        raise EngineError(
            f"Code: 36. DB::Exception: query_id {text[:40]!r}: must be 1 to 128 printable ASCII characters. "
            "(BAD_ARGUMENTS)"
        )
    return text


def _seconds(text: str) -> float:
    try:
        return max(1.0, float(text))
    except ValueError as error:
        raise EngineError(f"Code: 36. DB::Exception: session_timeout {text[:40]!r}. (BAD_ARGUMENTS)") from error


def failure(error: EngineError, query_id: str) -> Response:
    """An error as ClickHouse says it."""
    headers: dict[str, Any] = {"X-ClickHouse-Exception-Code": str(error.code), "X-ClickHouse-Query-Id": query_id}
    return Response(f"{str(error).strip()}\n", error.status, headers, media_type="text/plain")
