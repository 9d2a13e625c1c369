"""Where a call would go, over REST."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, cast

import flask
import msgspec
from spectree import SpecTree

from dashboards.access.table import allowed, roles_of
from dashboards.kit.problems import Fault, problem, responses
from dashboards.topics.registry import Route
from dashboards.topics.sources import Sources
from router.check import Checked, Question, QuestionError, SnapshotAwayError, read_moment
from router.check.question import MOST_SEED
from schemas.ids import NODE_PATTERN


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


def _check_routing(api: SpecTree, sources: Sources) -> Callable[..., Any]:
    @api.validate(resp=responses(Checked), tags=["routing"], operation_id="checkRouting")
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
            return sources.checks.ask(Question(at_ms=read_moment(asked.pop("at")), **asked))
        except QuestionError as error:
            fault = Fault(field=error.field, value=error.value, rule=error.rule)
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), fault)
        except SnapshotAwayError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    return cast(Callable[..., Any], check_routing)


ROUTES: Final = (Route(rule="check-routing", name="check_routing", area="check-routing", view=_check_routing),)
