"""A fake node's limits, and the hunt that passes routes over: the rules of the dialplan's [limits]."""

from collections.abc import Sequence

from simulator.hunt import Hunt, Output
from simulator.limits import UNTIL, NodeLimits
from simulator.lines import Call, Line
from simulator.plans import LegPlan

START_MS = 1_795_609_900_000


def node(**variables: str) -> NodeLimits:
    limits = NodeLimits(lambda: 1_000.0)
    assert limits.set(UNTIL, "1006")
    for name, value in variables.items():
        assert limits.set(name, value)
    return limits


def test_places_are_taken_up_to_the_share_and_given_back() -> None:
    limits = node(LC_p5="2", LS_p5="-")
    assert [limits.take(f"call {n}", ["p5"], START_MS) for n in range(3)] == [True, True, False]
    assert limits.get("GROUP_COUNT(p5@p)") == "2"
    assert limits.get("LX_p5") == "1"
    assert limits.take("call 0", [], START_MS)
    assert limits.take("call 2", ["p5"], START_MS)
    assert limits.get("GROUP_COUNT(p5@p)") == "2"


def test_a_call_takes_all_its_places_or_none() -> None:
    limits = NodeLimits(lambda: 1_000.0)
    for name, value in {UNTIL: "1006", "LC_p5": "9", "LS_p5": "9", "LC_c5-44": "0", "LS_c5-44": "-"}.items():
        assert limits.set(name, value)
    assert not limits.take("call", ["p5", "c5-44"], START_MS)
    assert (limits.get("GROUP_COUNT(p5@p)"), limits.get("LA_p5"), limits.get("LX_c5-44")) == ("0", "", "1")


def test_calls_per_second_begin_anew_with_each_second() -> None:
    limits = node(LC_p5="100", LS_p5="2")

    def passed(at_ms: int) -> list[bool]:
        return [limits.take(f"call {at_ms} {n}", ["p5"], at_ms) for n in range(3)]

    assert passed(START_MS + 900) == [True, True, False]
    assert passed(START_MS + 1_000) == [True, True, False]


def test_without_a_share_or_when_it_has_lapsed_there_is_no_room() -> None:
    limits = node()
    assert not limits.take("call", ["p5"], START_MS)
    limits = node(LC_p5="1", LS_p5="-")
    assert limits.set(UNTIL, "1000")
    assert not limits.take("call", ["p5"], START_MS)
    assert limits.set(UNTIL, "1001")
    assert limits.take("call", ["p5"], START_MS)
    limits.clear()
    assert limits.get("GROUP_COUNT(p5@p)") == "0"
    assert limits.get("SHELL(id)") is None
    assert not limits.set("ROUTER", "127.0.0.1:1")


class Room:
    """Says of each place that is asked for whether there is room."""

    def __init__(self, full: set[str]) -> None:
        self.full = full
        self.has: Sequence[str] = ()

    def take(self, keys: Sequence[str], _at_ms: int) -> bool:
        fits = not self.full & set(keys)
        self.has = keys if fits else ()
        return fits


def hunted(full: set[str], *plans: LegPlan) -> tuple[Hunt, list[Output], Room]:
    call = Call("ast1-1795609861-1795609900.1", START_MS, "c-acme", "127.0.0.1:5060", "44", "1", 60_000)
    room = Room(full)
    hunt = Hunt(call, lambda number, _facts: plans[number - 1], room.take)
    variables = {"DECISION": "ALLOW", "ROUTES": "3", "LIMITED": "1", "STOP_CAUSES": "", "MAX_MS": "60000"}
    for route in (1, 2, 3):
        variables |= {f"ROUTE_{route}_DIAL": f"PJSIP/44@v-{route}", f"ROUTE_{route}_FACTS": f"facts {route}"}
        variables |= {f"ROUTE_{route}_TIMEOUT": "10", f"ROUTE_{route}_LIMITS": f"p{route}&r1-{route}"}
    outputs = hunt.take_routes(variables, START_MS)
    while hunt.next_at_ms is not None:
        outputs += hunt.step()
    return hunt, outputs, room


def lines_of(outputs: list[Output], kind: str) -> list[Line]:
    return [one for one in outputs if isinstance(one, Line) and one.kind == kind]


REFUSES = LegPlan(final_ms=5, sip_code=503)


def test_a_route_without_room_is_no_leg_and_the_next_one_has_its_number() -> None:
    _, outputs, room = hunted({"r1-1"}, REFUSES, REFUSES)
    results = lines_of(outputs, "LEG_RESULT")
    assert [(one.values["leg"], one.values["facts"]) for one in results] == [("1", "facts 2"), ("2", "facts 3")]
    (end,) = lines_of(outputs, "CALL_END")
    assert (end.values["legs"], end.values["reason"], end.values["last"]) == ("2", "", "facts 3")
    assert room.has == ()


def test_a_route_in_the_middle_and_the_last_one_are_passed_over() -> None:
    _, outputs, _ = hunted({"p2", "p3"}, REFUSES)
    assert [one.values["facts"] for one in lines_of(outputs, "LEG_RESULT")] == ["facts 1"]
    (end,) = lines_of(outputs, "CALL_END")
    assert (end.values["legs"], end.values["reason"], end.values["last"]) == ("1", "", "facts 1")


def test_a_call_none_of_whose_routes_has_room_is_refused() -> None:
    hunt, outputs, _ = hunted({"p1", "p2", "p3"})
    assert lines_of(outputs, "LEG_START") == []
    (end,) = lines_of(outputs, "CALL_END")
    assert (end.values["legs"], end.values["reason"], end.values["cause"]) == ("0", "LIMIT", "44")
    assert hunt.state == "over"
