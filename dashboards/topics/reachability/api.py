"""Which vendors answer, over REST."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
from spectree import SpecTree

from dashboards.kit.problems import problem, responses
from dashboards.topics.registry import Route
from dashboards.topics.sources import Sources
from router.server.vendor_reach import VendorReach


class Vendors(msgspec.Struct, frozen=True):
    """Every vendor that a node has seen, by node: those that are not reachable first."""

    vendors: tuple[VendorReach, ...]


def _reachability(api: SpecTree, sources: Sources) -> Callable[..., Any]:
    @api.validate(resp=responses(Vendors), tags=["routing"], operation_id="listReachability")
    def reachability() -> Any:
        """Which vendors answer, on which node

        With how old the newest sign of it is: by INVITEs, and by OPTIONS where a vendor is probed. Some seconds old.
        """
        state = sources.reach.state()
        if state.away:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, state.away)
        return Vendors(tuple(state.vendors))

    return cast(Callable[..., Any], reachability)


ROUTES: Final = (Route(rule="reachability", name="reachability", area="reachability", view=_reachability),)
