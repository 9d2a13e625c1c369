"""What can be asked of the API. The OpenAPI document is made from these very functions and what they return."""

from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any, Final, cast

import flask
import msgspec
from flask_limiter import Limiter
from spectree import Response, SecurityScheme, SecuritySchemeData, SpecTree
from spectree.model_adapter import get_msgspec_model_adapter
from spectree.models import SecureType

from dashboards.access.table import allowed, roles_of
from dashboards.app.api.document import ALWAYS, completed
from dashboards.app.api.problems import MIMETYPE, Fault, Problem, problem
from dashboards.kit.queries import Queries, SourceAwayError
from dashboards.topics.call.decisions import read_decision
from dashboards.topics.check_routing.questions import Checks
from dashboards.topics.edge_refusals.api import edge_refusals_view
from dashboards.topics.reachability.api import reach_view
from dashboards.topics.reachability.store import ReachStore
from dashboards.topics.translation_test.api import trial_view
from dashboards.topics.translation_test.store import Trials
from dashboards.topics.users.api import user_views
from dashboards.topics.users.store import UserStore
from router.check import Checked, Question, QuestionError, SnapshotAwayError, read_moment
from router.check.question import MOST_SEED
from runtime.postgres_pool import Connections
from schemas.events import ExplainedCall
from schemas.ids import CALL_ID_PATTERN, NODE_PATTERN

_PATH: Final = "api/v1"
_ERROR: Final = msgspec.json.Encoder()
_ABOUT: Final = (
    "Amounts and prices are whole numbers: _e8 in 10⁻⁸, _micros in 10⁻⁶ of the currency; times are unix milliseconds. "
    "Names are those of the events and of ClickHouse's columns."
)


class CheckQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that is not made: who would call, from and to which number, when."""

    peer: Annotated[
        str, msgspec.Meta(min_length=1, max_length=64, description="The originator's name, as in the configuration.")
    ] = msgspec.field(name="from")
    callee: Annotated[
        str,
        msgspec.Meta(
            min_length=1, max_length=256, description="The number as it dials it; its tech prefix may be left out."
        ),
    ]
    caller: Annotated[str, msgspec.Meta(max_length=256, description="The caller's number.")] = ""
    at: Annotated[
        str, msgspec.Meta(max_length=64, description="An ISO date or time, UTC without an offset. Left out: now.")
    ] = ""
    node: Annotated[
        str,
        msgspec.Meta(
            max_length=16,
            description="The node that would ask: what is full or silent there counts.",
            extra_json_schema={"pattern": f"^({NODE_PATTERN.pattern})?$"},
        ),
    ] = ""
    routing_number: Annotated[
        str,
        msgspec.Meta(
            max_length=15,
            description="As if a look-up had found this routing number; none is asked.",
            extra_json_schema={"pattern": "^[0-9]{0,15}$"},
        ),
    ] = ""
    caller_name: Annotated[str, msgspec.Meta(max_length=256, description="The caller's display name, of From.")] = ""
    asserted: Annotated[
        str, msgspec.Meta(max_length=256, description="The header P-Asserted-Identity; believed of a trusted peer.")
    ] = ""
    privacy: Annotated[str, msgspec.Meta(max_length=256, description="The header Privacy.")] = ""
    codecs: Annotated[
        str,
        msgspec.Meta(
            max_length=64,
            description="What the INVITE offers, as `g729,alaw`. Left out: not asked about.",
            extra_json_schema={"pattern": "^([a-z0-9]+(,[a-z0-9]+)*)?$"},
        ),
    ] = ""
    seed: Annotated[int, msgspec.Meta(ge=0, le=MOST_SEED, description="What decides all that is left to chance.")] = 0
    look_up: Annotated[
        bool, msgspec.Meta(description="Really ask the look-up that the call would ask: it may cost money.")
    ] = False


def add_api(
    server: flask.Flask,
    limiter: Limiter,
    checks: Checks,
    queries: Queries,
    trials: Trials,
    reach: ReachStore,
    users: UserStore,
    connections: Connections,
    per_minute: int,
) -> None:
    """Put the API's paths on the server, behind its door (dashboards/access/auth.py)."""
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
    for rule, method, view in (
        ("check-routing", "GET", _check_view(api, checks)),
        ("decisions/<call_id>", "GET", _decision_view(api, queries)),
        ("reachability", "GET", reach_view(api, reach, _responses)),
        ("edge-refusals", "GET", edge_refusals_view(api, connections, _responses)),
        ("try-translation", "POST", trial_view(api, trials, _responses)),
        *user_views(api, users, _responses),
    ):
        limited = limiter.limit(limit, key_func=_who)(limiter.limit(limit)(view))
        server.add_url_rule(
            f"/{_PATH}/{rule}", f"api_{view.__name__}", limited, methods=[method], provide_automatic_options=False
        )

    @cache
    def document() -> dict[str, Any]:
        return completed(api.spec)

    server.add_url_rule(
        f"/{_PATH}/openapi.json", "api_document", lambda: flask.jsonify(document()), methods=["GET"],
        provide_automatic_options=False,
    )  # fmt: skip


def _who() -> str:
    """The token itself: the door has let it in, and the word before it may be written in several ways."""
    return flask.request.headers.get("Authorization", "").rpartition(" ")[2]


def _responses(model: type[msgspec.Struct], *more: int) -> Response:
    """What is documented: the answer, the problems of every path, and `more` that this one may have."""
    told: dict[str, Any] = {f"HTTP_{status}": Problem for status in sorted({*ALWAYS, *more})}
    return Response(HTTP_200=model, **told)


def _check_view(api: SpecTree, checks: Checks) -> Callable[..., Any]:
    @api.validate(resp=_responses(Checked), tags=["routing"], operation_id="checkRouting")
    def check_routing(query: CheckQuestion) -> Any:
        """Where a call would go, and why

        Asks the routers' own core. Makes no call; nothing is counted or held, and no balance is asked. A look-up is
        asked only with `look_up=true`, and not more than some in a minute.
        """
        if query.look_up and not allowed(flask.g.user.role, "check-routing", "look up"):
            fault = Fault(field="look_up", value="true", rule=f"only {roles_of('check-routing', 'look up')} may ask")
            return problem(HTTPStatus.FORBIDDEN, "A look-up may cost money.", fault)
        try:
            asked = msgspec.structs.asdict(query)
            return checks.ask(Question(at_ms=read_moment(asked.pop("at")), **asked))
        except QuestionError as error:
            fault = Fault(field=error.field, value=error.value, rule=error.rule)
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), fault)
        except SnapshotAwayError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    return cast(Callable[..., Any], check_routing)


def _decision_view(api: SpecTree, queries: Queries) -> Callable[..., Any]:
    @api.validate(
        resp=_responses(ExplainedCall, 404),
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
            found = read_decision(queries.call_decision(call_id))
        except SourceAwayError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        if found is None:
            return problem(HTTPStatus.NOT_FOUND, "No decision is stored for this call.")
        return found

    return cast(Callable[..., Any], decision)


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
