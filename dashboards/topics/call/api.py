"""Why a call went where it went, over REST."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

from spectree import SpecTree

from dashboards.kit.problems import Fault, problem, responses
from dashboards.kit.queries import SourceAwayError
from dashboards.topics.call.decisions import read_decision
from dashboards.topics.registry import Route
from dashboards.topics.sources import Sources
from schemas.events import ExplainedCall
from schemas.ids import CALL_ID_PATTERN


def _decision(api: SpecTree, sources: Sources) -> Callable[..., Any]:
    @api.validate(
        resp=responses(ExplainedCall, 404),
        tags=["routing"],
        operation_id="getDecision",
        path_parameter_descriptions={"call_id": "NODE-EPOCH-SECONDS.SEQUENCE"},
    )
    def decision(call_id: str) -> Any:
        """Why a call went where it went

        The stored decision: every candidate, taken or why not, and the configuration that it was made with.
        """
        if CALL_ID_PATTERN.fullmatch(call_id) is None:
            fault = Fault(field="call_id", value=call_id[:80], rule="must be NODE-EPOCH-SECONDS.SEQUENCE")
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "This is not a call's id.", fault)
        try:
            found = read_decision(sources.queries.call_decision(call_id))
        except SourceAwayError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        if found is None:
            return problem(HTTPStatus.NOT_FOUND, "No decision is stored for this call.")
        return found

    return cast(Callable[..., Any], decision)


ROUTES: Final = (Route(rule="decisions/<call_id>", name="decision", area="decisions", view=_decision),)
