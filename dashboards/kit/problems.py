"""Errors of the API in one form: problem details of RFC 9457, with field, value and rule where there is one."""

from http import HTTPStatus
from typing import Any, Final

import flask
import msgspec
from spectree import Response
from werkzeug.exceptions import HTTPException

PREFIX: Final = "/api/"
"""Every path of the API; whoever adds one below it has the token's check in front of it."""
MIMETYPE: Final = "application/problem+json"
ALWAYS: Final = (400, 401, 403, 405, 422, 429, 503)
"""Problems that every path may answer with."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a field of the question."""

    field: str
    value: str = ""
    rule: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error: `title` is the status in words, `detail` what happened here."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: tuple[Fault, ...] = ()


def problem(status: int, detail: str, *errors: Fault) -> flask.Response:
    """The answer that tells of an error."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors)
    answer = flask.Response(msgspec.json.encode(body), status, mimetype=MIMETYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="streamco"'
    return answer


def responses(model: type[msgspec.Struct], *more: int) -> Response:
    """What is documented of a path: the answer, the problems of every path, and `more` that this one may have."""
    told: dict[str, Any] = {f"HTTP_{status}": Problem for status in sorted({*ALWAYS, *more})}
    return Response(HTTP_200=model, **told)


def add_problems(server: flask.Flask) -> None:
    """Errors below the API's paths come as problems; those of pages stay as they are."""

    def told(error: HTTPException) -> flask.Response | HTTPException:
        if not flask.request.path.startswith(PREFIX) or error.response is not None:
            return error
        answer = problem(error.code or 500, error.description or "")
        for name, value in error.get_headers():
            if name == "Allow":
                answer.headers[name] = value
        return answer

    server.register_error_handler(HTTPException, told)
