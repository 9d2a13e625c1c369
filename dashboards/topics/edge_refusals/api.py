"""Requests that nodes refused before their dialplans, over REST."""

import ipaddress
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, cast

import msgspec
from spectree import SpecTree

from dashboards.kit.problems import Fault, problem, responses
from dashboards.kit.queries import SourceAwayError
from dashboards.topics.registry import Route
from dashboards.topics.sources import Sources
from sinks.edge_refusals import EdgeRefusal


class EdgeQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which of them."""

    node: Annotated[str, msgspec.Meta(max_length=16, description="Of this node alone.")] = ""
    address: Annotated[str, msgspec.Meta(max_length=64, description="Of this source, or network of sources.")] = ""
    hours: Annotated[int, msgspec.Meta(ge=1, le=720, description="Of the last so many hours.")] = 24
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="The newest so many.")] = 500


class EdgeRefusalView(msgspec.Struct, frozen=True):
    """A SIP request that was refused. `not_recorded`: so many of its source were not, since its record before."""

    at_ms: int
    node: str
    address: str
    port: int
    peer: str | None
    method: str
    sip_code: int
    reason: str
    sip_call_id: str
    not_recorded: int


class EdgeRefusals(msgspec.Struct, frozen=True):
    """The newest first."""

    refusals: tuple[EdgeRefusalView, ...]


def _edge_refusals(api: SpecTree, sources: Sources) -> Callable[..., Any]:
    @api.validate(resp=responses(EdgeRefusals), tags=["routing"], operation_id="listEdgeRefusals")
    def edge_refusals(query: EdgeQuestion) -> Any:
        """SIP requests that were refused before any call began

        By Asterisk itself (codecs, extensions, malformed requests, credentials). They are no legs, and in no figure.
        """
        try:
            network = str(ipaddress.ip_network(query.address)) if query.address else None
            if network is not None and "%" in network:  # PostgreSQL knows no zones
                raise ValueError(network)
        except ValueError:
            fault = Fault(field="address", value=query.address, rule="must be an address or a network")
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "This is no address.", fault)
        try:
            found = sources.edge_refusals.newest(query.limit, query.hours * 3600, query.node, network)
        except SourceAwayError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        return EdgeRefusals(tuple(map(_view, found)))

    return cast(Callable[..., Any], edge_refusals)


def _view(one: EdgeRefusal) -> EdgeRefusalView:
    values = one._asdict()
    return EdgeRefusalView(at_ms=int(values.pop("at").timestamp() * 1000), **values)


ROUTES: Final = (Route(rule="edge-refusals", name="edge_refusals", area="edge-refusals", view=_edge_refusals),)
