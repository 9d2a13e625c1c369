"""Look-ups, numbers that lead inward, signatures of caller ids in a world's file: the models, how they are written.

lookups:
  - {name: NPAC, kind: lrn, url: "http://127.0.0.1:8080/lrn/{number}", answer_field: lrn, codes: ["1"]}
mobile_networks: [{mccmnc: "28401", code: "35988"}]
dids: [{number: 35924000, peer: our-pbx}]
peers:
  - {name: acme, role: originator, …, lookup: NPAC, rate_by: routing, verification: refuse_failed, attestation: B}
"""

from typing import Annotated, Any, Literal, Self

from psycopg import sql
from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from configuration.entities.codes import Code
from configuration.entities.parts import Name, Part, PeerName, Whole, as_text
from configuration.entities.tables import Tables

DidCode = Annotated[str, BeforeValidator(as_text), StringConstraints(pattern=r"^[0-9]{3,15}$")]
Network = Annotated[str, BeforeValidator(as_text), StringConstraints(pattern=r"^[0-9]{5,6}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[!-z]*\{number\}[!-z]*$", max_length=512)]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,32}(\.[A-Za-z0-9_]{1,32}){0,4}$")]


class LookupService(Part):
    """A service that is asked over HTTP before a call is routed. `codes`: only numbers under these; none: all."""

    name: Name
    kind: Literal["lrn", "hlr"]
    url: Url
    answer_field: FieldName
    codes: Annotated[tuple[Code, ...], Field(max_length=1000)] = ()
    timeout_ms: Annotated[Whole, Field(ge=10, le=800)] = 300
    cache_seconds: Annotated[Whole, Field(ge=0, le=604_800)] = 3600
    max_parallel: Annotated[Whole, Field(ge=1, le=1000)] = 50
    when_failed: Literal["route", "refuse"] = "route"


class MobileNetwork(Part):
    """A mobile network, by MCC and MNC, and the code that its numbers are priced under."""

    mccmnc: Network
    code: Code


class DidBlock(Part):
    """A number, or all numbers that begin so, and the terminator that they lead to."""

    number: DidCode
    peer: PeerName


class Looked(Part):
    """What of a peer has to do with look-ups and signatures."""

    lookup: Name | None = None
    trust_lrn: bool = False
    rate_by: Literal["dialled", "routing"] = "dialled"
    verification: Literal["ignore", "refuse_failed", "require"] = "ignore"
    least_attestation: Literal["", "A", "B", "C"] = ""
    attestation: Literal["", "A", "B", "C", "pass"] = ""
    send_routing_number: bool = False

    @model_validator(mode="after")
    def _of_its_role(self) -> Self:
        role: str = getattr(self, "role", "originator")
        for name, field in Looked.model_fields.items():
            of = "terminator" if name == "send_routing_number" else "originator"
            if role != of and getattr(self, name) != field.default:
                raise ValueError(f"{name} {getattr(self, name)!r}: is for peers that are {of}")
        if self.verification != "ignore" and not getattr(self, "trusted", True):
            raise ValueError(f"verification {self.verification!r}: of a peer that is trusted, for anybody can write it")
        if self.least_attestation and self.verification != "require":
            raise ValueError(f"least_attestation {self.least_attestation!r}: goes with verification require")
        return self


LOOKED = ("trust_lrn", "rate_by", "verification", "least_attestation", "attestation", "send_routing_number")


def put_lookups(tables: Tables, lookups: tuple[LookupService, ...], networks: tuple[MobileNetwork, ...]) -> None:
    """Write what differs, before the peers that name them."""
    for index, lookup in enumerate(lookups):
        values: dict[str, Any] = lookup.model_dump() | {"codes": list(lookup.codes)}
        tables.put(f"lookups[{index}]", "lookups", values)
    statement = sql.SQL(
        "INSERT INTO mobile_networks (mccmnc, code) VALUES (%s, %s) ON CONFLICT (mccmnc) DO UPDATE SET"
        " code = excluded.code WHERE mobile_networks.code <> excluded.code RETURNING mccmnc"
    )
    for index, network in enumerate(networks):
        written = tables.run(f"mobile_networks[{index}]", statement, (network.mccmnc, network.code))
        tables.written += written is not None


def put_dids(tables: Tables, dids: tuple[DidBlock, ...]) -> None:
    """Write what differs, behind the peers that they lead to."""
    statement = sql.SQL(
        "INSERT INTO dids (code, peer_id) VALUES (%s, %s) ON CONFLICT (code) DO UPDATE SET"
        " peer_id = excluded.peer_id WHERE dids.peer_id <> excluded.peer_id RETURNING code"
    )
    for index, did in enumerate(dids):
        path = f"dids[{index}]"
        peer_id = tables.id_of("peers", did.peer)
        if peer_id is None:
            tables.errors.append(f"{path}.peer {did.peer!r}: there is none of that name")
        else:
            tables.written += tables.run(path, statement, (did.number, peer_id)) is not None
