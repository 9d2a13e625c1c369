"""Which vendors answer, over REST."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import msgspec
from spectree import Response, SpecTree

from dashboards.app.api.problems import problem
from dashboards.topics.reachability.store import ReachStore
from router.server.vendor_reach import VendorReach


class Vendors(msgspec.Struct, frozen=True):
    """Every vendor that a node has seen, by node: those that are not reachable first."""

    vendors: tuple[VendorReach, ...]


def reach_view(api: SpecTree, reach: ReachStore, responses: Callable[..., Response]) -> Any:
    """The view."""

    @api.validate(resp=responses(Vendors), tags=["routing"], operation_id="listReachability")
    def reachability() -> Any:
        """Which vendors answer, on which node

        With how old the newest sign of it is: by INVITEs, and by OPTIONS where a vendor is probed. Some seconds old.
        """
        state = reach.state()
        if state.away:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, state.away)
        return Vendors(tuple(state.vendors))

    return cast(Callable[..., Any], reachability)
