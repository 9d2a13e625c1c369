"""The quick variables of routes are those of the plain way, whatever the vendors, their routes and the numbers are."""

from pathlib import Path

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshots import EXPECTED_SECONDS, NOW_MS, PACK, RawWorld, make_snapshot, peer, with_changes

from router.core import Decision, Request, Route, World, decide
from router.core.limits import route_limits
from router.core.route_texts import route_texts
from router.server.answer import Answer, call_facts, variables
from router.snapshot.config import Account, CodeLimit, Pack, RouteClass, RouteEntry
from schemas.facts import Facts, encode_facts
from schemas.refusals import Refusal

seconds = st.integers(0, 86_400)
packs = st.builds(
    Pack, pack_id=st.just(1), currency=st.just("USD"), minimum_seconds=seconds, increment_seconds=st.integers(1, 60),
    free_seconds=seconds, connect_fee_micros=st.integers(0, 10**6), rounding_decimals=st.integers(0, 6),
    duration_rounding=st.sampled_from(["up", "nearest", "none"]), allow_free_codes=st.booleans(),
)  # fmt: skip
vendors_own = st.fixed_dictionaries(
    {
        "pack": packs,
        "tech_prefix": st.sampled_from(["", "99#", "0011"]),
        "ring_seconds": st.integers(1, 300),
        "pdd_timeout_seconds": st.sampled_from([0, 5]),
        "huntstop": st.booleans(),
        "release_rules": st.sampled_from(["", "-17-s"]),
        "send_routing_number": st.booleans(),
        "pass_diversion": st.booleans(),
        "max_concurrent": st.sampled_from([0, 3]),
        "max_cps": st.sampled_from([0, 2]),
        "codecs": st.sampled_from(["alaw,ulaw", "g729", "g729,alaw", "gsm,opus", "opus,g729"]),
    }
)
entries_own = st.fixed_dictionaries(
    {"ring_seconds": st.sampled_from([0, 7]), "max_concurrent": st.sampled_from([0, 1]), "huntstop": st.booleans()}
)
RN = "447700900000"
END = ("g729", "opus")


def plain_facts(decision: Decision, route: Route) -> Facts:
    """Of an outbound leg: the inbound one's numbers as the vendor is sent them, on the vendor's terms."""
    vendor, pack, price = route.vendor, route.vendor.pack, route.price
    return msgspec.structs.replace(
        call_facts(decision), side="payable", vendor_company_id=vendor.company_id, vendor_peer_id=vendor.peer_id,
        account_id=vendor.account.account_id, currency=pack.currency, code=price.code, price_id=price.price_id,
        price_e8=price.price_e8, connect_fee_micros=pack.connect_fee_micros, minimum_seconds=pack.minimum_seconds,
        increment_seconds=pack.increment_seconds, free_seconds=pack.free_seconds,
        rounding_decimals=pack.rounding_decimals, duration_rounding=pack.duration_rounding,
        caller=route.sent.caller.removeprefix("+"), callee=route.sent.callee.removeprefix("+"),
    )  # fmt: skip


def _offered(own: list[str], call: tuple[str, ...]) -> str:
    """What a vendor must be offered, where Asterisk would offer more than goes with the call."""
    good = [codec for codec in own if codec in call or ("g729" not in call and "opus" not in call and codec not in END)]
    return "-".join(sorted(good, key=lambda codec: codec not in call)) if call and len(good) < len(own) else ""


def plain_variables(decision: Decision) -> dict[str, str]:
    """What routes.agi documents of each route (schemas/agi.py), one by one."""
    found: dict[str, str] = {}
    for number, route in enumerate(decision.routes, start=1):
        vendor, entry, sent = route.vendor, route.entry, route.sent
        ported = f";npdi;rn=+{RN}" if vendor.send_routing_number and decision.inbound.routing_number else ""
        limits = route_limits(
            decision.snapshot, vendor, route.placed.route_class.route_class_id, decision.inbound.callee
        )
        said = {
            "DIAL": f"PJSIP/{vendor.tech_prefix}{sent.callee}{ported}@{vendor.endpoint}",
            "TIMEOUT": str(entry.ring_seconds or vendor.ring_seconds),
            "FACTS": encode_facts(plain_facts(decision, route)),
            "PDD": str(entry.pdd_timeout_seconds or vendor.pdd_timeout_seconds).replace("0", ""),
            "RULES": vendor.release_rules,
            "HUNTSTOP": "1" if entry.huntstop or vendor.huntstop else "",
            "CALLER": sent.caller,
            "CALLER_NAME": sent.caller_name,
            "WITHHELD": "1" if sent.withheld else "",
            "DIVERSION": "1" if vendor.pass_diversion and decision.peer and decision.peer.pass_diversion else "",
            "LIMITS": "&".join(limits),
            "CODECS": _offered(vendor.codecs.split(","), decision.row.codecs),
        }
        found |= {f"ROUTE_{number}_{name}": value for name, value in said.items() if value}
    if len(decision.row.codecs) < len(list(filter(None, decision.request.codecs.split(",")))):
        found["CALL_CODECS"] = "-".join(decision.row.codecs)
    if any(name.endswith("_LIMITS") for name in found):
        found["LIMITED"] = "1"
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(vendors_own, entries_own), min_size=1, max_size=9),
    st.lists(st.sampled_from(["44", "4477", "4477009001"]), max_size=2, unique=True),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "alaw", "ulaw,gsm", "g729", "g729,alaw", "alaw,opus,g729"]),
)
def test_quick_variables_are_the_plain_ones(  # type: ignore[no-untyped-def]
    tmp_path: Path,
    drawn: list[tuple[dict, dict]],
    limited_codes: list[str],
    ported: bool,  # type: ignore[type-arg]
    diverted: bool,
    codecs: str,
) -> None:
    vendors = [
        peer(2 + number, originator=False, account=Account(900 - number, False, False), **own)
        for number, (own, _) in enumerate(drawn)
    ]
    entries = tuple(
        RouteEntry(vendor.peer_id, 1, enabled=True, **own) for vendor, (_, own) in zip(vendors, drawn, strict=True)
    )
    customer = with_changes(peer(1, originator=True), profit="allow_losses", pack=PACK, trust_lrn=True)
    customer = with_changes(customer, pass_diversion=diverted)
    prices = {vendor.deck_id: [("44", 0, 1_000 * vendor.peer_id)] for vendor in vendors}
    world = RawWorld(
        [customer, *vendors], {1: [("44", 0, 10**9)], **prices}, (), classes=[RouteClass(1, "all", entries)],
        code_limits=[CodeLimit(2, code, 1, 0) for code in limited_codes],
    )  # fmt: skip
    snapshot = make_snapshot(tmp_path, world)
    for last in "12":  # a code's limit depends on the number, what is kept does not
        callee = f"44770090{last}123" + (f";npdi;rn=+{RN}" if ported else "")
        asked = Request("c-c1", "127.0.1.1:5060", callee, "12125550123", codecs=codecs)
        decision = decide(World(snapshot), asked, NOW_MS, expected_seconds=EXPECTED_SECONDS)
        if not decision.routes:
            assert decision.refusal is Refusal.NO_COMMON_CODEC
            continue
        assert bool(decision.inbound.routing_number) == ported
        expected = plain_variables(decision)
        for _ in range(2):  # what was kept says the same
            found = route_texts(decision)
            assert dict(found) == expected
            assert len(found) == len(expected)
        said = variables(Answer(decision, None, 1_000, 0), call_facts(decision))
        assert expected.items() <= dict(said).items()
