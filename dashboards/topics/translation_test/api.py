"""The API's trial of patterns: the question is a JSON body of bounded size. It saves nothing."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, cast

import flask
import msgspec
from spectree import SpecTree

from dashboards.kit.bodies import read_json
from dashboards.kit.problems import Fault, problem, responses
from dashboards.kit.queries import SourceAwayError
from dashboards.topics.registry import Route
from dashboards.topics.sources import Sources
from router.check import TrialError, TrialQuestion, TrialRule, Tried
from router.check.trial import MOST_EXAMPLES
from tariffs.patterns import MOST_PATTERNS


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


def _try_translation(api: SpecTree, sources: Sources) -> Callable[..., Any]:
    # Read here and not by SpecTree: a body is bounded before it is parsed.
    @api.validate(
        json=TrialBody,
        resp=responses(Tried, 413),
        tags=["routing"],
        operation_id="tryTranslation",
        skip_validation=True,
    )
    def try_translation() -> Any:
        """What patterns make of numbers, before they are saved

        Each number's steps, its end, and what that is for a call. Saves nothing. Patterns that saving would refuse are
        refused here, all of them at once.
        """
        body = read_json(TrialBody)
        if isinstance(body, flask.Response):
            return body
        try:
            return sources.trials.ask(TrialQuestion(body.peer, body.direction, body.field, body.rules, body.numbers))
        except TrialError as error:
            faults = [Fault(field=one.field, value=one.value, rule=one.rule) for one in error.faults]
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), *faults)
        except SourceAwayError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    return cast(Callable[..., Any], try_translation)


ROUTES: Final = (
    Route(rule="try-translation", name="try_translation", method="POST", area="try-translation", view=_try_translation),
)
