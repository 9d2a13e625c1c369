"""The API's trial of patterns: the question is a JSON body of bounded size. It saves nothing."""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, cast

import flask
import msgspec
from spectree import Response, SpecTree
from werkzeug.exceptions import RequestEntityTooLarge

from dashboards.api.problems import Fault, Problem, problem
from dashboards.queries import SourceAwayError
from dashboards.trials import Trials
from router.check import TrialError, TrialQuestion, TrialRule, Tried
from router.check.trial import MOST_EXAMPLES
from tariffs.patterns import MOST_PATTERNS

MOST_BYTES: Final = 65_536
_STEP: Final = re.compile(r"[^.\[\]]+")
_PLACE: Final = re.compile(r" - at `\$\.?([^`]*)`\Z")


class TrialBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Patterns, in their order, and what they are tried on."""

    numbers: Annotated[
        tuple[str, ...],
        msgspec.Meta(min_length=1, max_length=MOST_EXAMPLES, description="As they arrive; 256 characters each."),
    ]
    peer: Annotated[
        str,
        msgspec.Meta(max_length=64, description="Whose prefixes and country count. Left out: none, and no country."),
    ] = ""
    direction: Annotated[
        Literal["in", "out"] | None,
        msgspec.Meta(description="in: what an originator sends. out: what a terminator is sent. Left out: the peer's."),
    ] = None
    field: Literal["callee", "caller", "caller_name"] = "callee"
    rules: Annotated[
        tuple[TrialRule, ...] | None,
        msgspec.Meta(description=f"Up to {MOST_PATTERNS}, tried instead of the saved ones. Left out: the saved ones."),
    ] = None


def trial_view(api: SpecTree, trials: Trials) -> Callable[..., Any]:
    """What answers on the path."""
    told: dict[str, Any] = {f"HTTP_{status}": Problem for status in (401, 403, 404, 413, 422, 429, 503)}

    # Read here and not by SpecTree: a body is bounded before it is parsed.
    @api.validate(
        json=TrialBody,
        resp=Response(HTTP_200=Tried, **told),
        tags=["routing"],
        operation_id="tryTranslation",
        skip_validation=True,
    )
    def try_translation() -> Any:
        """What patterns make of numbers, before they are saved

        Each number's steps, its end, and what that is for a call. Saves nothing. Patterns that saving would refuse are
        refused here, all of them at once.
        """
        try:
            body = _read()
        except RequestEntityTooLarge:
            said = f"The question must have at most {MOST_BYTES} bytes."
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, said)
        if isinstance(body, Fault):
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, body.rule, body)
        try:
            return trials.ask(TrialQuestion(body.peer, body.direction, body.field, body.rules, body.numbers))
        except TrialError as error:
            faults = [Fault(field=one.field, value=one.value, rule=one.rule) for one in error.faults]
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), *faults)
        except SourceAwayError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    return cast(Callable[..., Any], try_translation)


def _read() -> TrialBody | Fault:
    """The request's body, or what is wrong with it. Raises RequestEntityTooLarge."""
    flask.request.max_content_length = MOST_BYTES
    raw = flask.request.get_data(cache=False)
    try:
        return msgspec.json.decode(raw, type=TrialBody)
    except msgspec.ValidationError as error:
        said = str(error)
        found = _PLACE.search(said)
        place, rule = (found[1], said[: found.start()]) if found else ("", said)
        if not found and said.count("`") > 1:  # of a field that is missing, or unknown
            place = said.split("`")[1]
        return Fault(field=place, value=_value(raw, place), rule=rule)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Fault(field="", value=raw[:80].decode("utf-8", "replace"), rule=f"must be a JSON object: {error}"[:200])


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
