"""JSON bodies of requests: bounded before they are read, refused by field, value and rule where they do not fit."""

import re
from http import HTTPStatus
from typing import Any, Final, TypeVar

import flask
import msgspec
from werkzeug.exceptions import RequestEntityTooLarge

from dashboards.kit.bad_texts import broken_rule
from dashboards.kit.problems import Fault, problem

MOST_BYTES: Final = 65_536
_STEP: Final = re.compile(r"[^.\[\]]+")
_PLACE: Final = re.compile(r" - at `\$\.?([^`]*)`\Z")
_Body = TypeVar("_Body")


def read_json(kind: type[_Body]) -> _Body | flask.Response:
    """The request's body, or the answer that refuses it: 400, 413 or 422."""
    flask.request.max_content_length = MOST_BYTES
    try:
        raw = flask.request.get_data(cache=False)
    except RequestEntityTooLarge:
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The question must have at most {MOST_BYTES} bytes.")
    try:
        if rule := broken_rule(msgspec.json.decode(raw)):
            return problem(HTTPStatus.BAD_REQUEST, f"The request {rule}.")
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        fault = _fault(raw, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        rule = f"must be a JSON object: {error}"[:200]
        fault = Fault(field="", value=raw[:80].decode("utf-8", "replace"), rule=rule)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, fault.rule, fault)


def _fault(raw: bytes, said: str) -> Fault:
    found = _PLACE.search(said)
    place, rule = (found[1], said[: found.start()]) if found else ("", said)
    if not found and said.count("`") > 1:  # of a field that is missing, or unknown
        place = said.split("`")[1]
    return Fault(field=place, value=_value(raw, place), rule=rule)


def _value(raw: bytes, place: str) -> str:
    """What stands at a place such as `rules[0].pattern`, shortened; nothing where nothing does."""
    try:
        value: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the rest of it is worse
        return ""
    for step in _STEP.findall(place):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return ""
    text = value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
    return text[:80]
