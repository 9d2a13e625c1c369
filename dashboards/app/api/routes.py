"""The API's paths on the server, each with its limits; the OpenAPI document from the very functions that answer."""

from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

import flask
import msgspec
from flask_limiter import Limiter
from spectree import SecurityScheme, SecuritySchemeData, SpecTree
from spectree.model_adapter import get_msgspec_model_adapter
from spectree.models import SecureType

from dashboards.app.api.document import completed
from dashboards.kit.problems import MIMETYPE, PREFIX, Fault, Problem
from dashboards.topics.registry import routes
from dashboards.topics.sources import Sources

_VERSION: Final = "v1"
_ERROR: Final = msgspec.json.Encoder()
_ABOUT: Final = (
    "Amounts and prices are whole numbers: _e8 in 10⁻⁸, _micros in 10⁻⁶ of the currency; times are unix milliseconds. "
    "Names are those of the events and of ClickHouse's columns."
)


def add_api(server: flask.Flask, limiter: Limiter, sources: Sources, per_minute: int) -> None:
    """Put the API's paths on the server, behind its door (app/auth.py); `per_minute` questions of a token."""
    api = SpecTree(
        "flask",
        model_adapter=get_msgspec_model_adapter(),
        title="Streamco",
        version=f"1 ({version('streamco')})",
        description=_ABOUT,
        path="_",  # it leaves what is below its own pages out of the document: it gets none, see below
        mode="strict",
        before=_refuse,
        validation_error_model=Problem,
        naming_strategy=lambda model: model.__name__,
        nested_naming_strategy=lambda _, child: child,
        security_schemes=[SecurityScheme(name="token", data=SecuritySchemeData(type=SecureType.HTTP, scheme="bearer"))],
        security={"token": []},
    )
    limit = f"{per_minute} per minute"
    for route in routes():
        view = route.view(api, sources)
        limited = limiter.limit(limit, key_func=_who)(limiter.limit(limit)(view))
        _add(server, route.rule, route.endpoint, limited, route.method)

    @cache
    def document() -> dict[str, Any]:
        return completed(api.spec)

    _add(server, "openapi.json", "api_document", lambda: flask.jsonify(document()), "GET")


def _add(server: flask.Flask, rule: str, endpoint: str, view: Any, method: str) -> None:
    path = f"{PREFIX}{_VERSION}/{rule}"
    server.add_url_rule(path, endpoint, view, methods=[method], provide_automatic_options=False)


def _who() -> str:
    """The token itself: the door has let it in, and the word before it may be written in several ways."""
    return flask.request.headers.get("Authorization", "").rpartition(" ")[2]


def _refuse(_request: Any, response: flask.Response | None, error: Exception | None, *_: Any) -> None:
    """What does not fit its structure is told as every other error."""
    if error is None or response is None:
        return
    said = str(error).split(" - at `$")
    rule, place = said[0], said[-1] if len(said) > 1 else ""
    field = place.strip("`.[]'\"") or (rule.split("`")[1] if rule.count("`") > 1 else "")
    value = flask.request.args.get(field, "")[:80]
    fault = Fault(field=field, value=value, rule=rule)
    response.data = _ERROR.encode(
        Problem(
            title=HTTPStatus(response.status_code).phrase, status=response.status_code, detail=rule, errors=(fault,)
        )
    )
    response.mimetype = MIMETYPE
