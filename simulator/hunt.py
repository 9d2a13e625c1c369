"""The dialplan's hunt as a pure state machine: one call from the INVITE to its last journal line.

Inputs: the router's variables, the behaviour of caller and vendors (simulator/plans.py), and hang-ups from outside.
Outputs: journal lines and signals for AMI, each with its moment. Time is an argument, in unix milliseconds of the
simulator's clock: `next_at_ms` says when the machine wants to be stepped; it never looks at a clock itself.

The rules are those of the fixed dialplan (configuration/asterisk/files/extensions.conf).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from schemas import agi, release
from schemas.refusals import CUT_CAUSE, Ending, Refusal
from simulator import lines, sip_causes
from simulator.lines import Call, Leg, Line, Side
from simulator.plans import LegPlan
from simulator.release import meaning

NORMAL_CLEARING: Final = 16
_TEMPORARY: Final = 34
_INTERWORKING: Final = 127
_NO_ROUTE: Final = 3
_NO_LIMIT_MS: Final = 10**12
_LIMIT: Final = 44

SignalKind = Literal["leg_made", "ringing", "answered", "leg_over", "call_over"]
PlanLeg = Callable[[int, str], LegPlan]  # leg number and its FACTS
# Takes the places of these limits in place of those that the call has; False: one is full, and the call has none.
TakePlaces = Callable[[Sequence[str], int], bool]
# What a route that takes the place of one passed over brings.
_OF_A_ROUTE: Final = ("DIAL", "TIMEOUT", "FACTS", agi.PDD, agi.RULES, agi.HUNTSTOP)


class HuntError(RuntimeError):
    """The machine was driven wrongly: a fault of this program."""


class Signal(NamedTuple):
    """Something that a channel does and AMI shows. `leg` 0: the caller's channel."""

    kind: SignalKind
    leg: int
    at_ms: int
    cause: int


Output = Line | Signal


@dataclass(slots=True)
class Hunt:
    """One call. `state`: waiting (for the router), dialling, talking, over."""

    call: Call
    plan_leg: PlanLeg
    take_places: TakePlaces = lambda _keys, _at_ms: True
    state: Literal["waiting", "dialling", "talking", "over"] = "waiting"
    next_at_ms: int | None = None
    leg: Leg | None = None
    legs: int = 0  # number of the last leg dialled
    passed_over: int = 0  # routes whose limits had no room
    _variables: Mapping[str, str] = field(default_factory=dict)
    _routes: int = 0
    _cause: int = 0  # what the caller hears if no leg follows
    _status: str = ""
    _first_progress_ms: int | None = None
    _last_facts: str = ""
    _answered: Leg | None = None
    _hung_up_by: Side | None = None

    def take_routes(self, variables: Mapping[str, str] | None, at_ms: int) -> list[Output]:
        """The router's answer; None: it gave none (AGISTATUS is not SUCCESS)."""
        self._variables = variables or {}
        decision = self._variables.get(agi.DECISION, "")
        routes = _whole_number(self._variables.get(agi.ROUTES, ""))
        if self._hung_up_by is not None or at_ms >= self._gives_up_at_ms():
            return self._gone(at_ms, self._hung_up_by or "caller")
        if decision == "ALLOW" and routes > 0:
            self._routes = min(routes, agi.MAX_ROUTES)
            return self._next_leg(at_ms)
        if decision == "REFUSE":
            cause = _whole_number(self._variables.get(agi.REFUSE_CAUSE, "")) or _TEMPORARY
            return self._finish(at_ms, cause, "us", self._variables.get(agi.REASON, ""))
        return self._finish(at_ms, _TEMPORARY, "us", Refusal.ROUTER_UNAVAILABLE)

    @property
    def variables(self) -> Mapping[str, str]:
        """What the router has set on the caller's channel."""
        return self._variables

    def step(self) -> list[Output]:
        """What happens at `next_at_ms`."""
        at_ms, leg = self.next_at_ms, self.leg
        if at_ms is None or leg is None:
            raise HuntError(f"step of a call that is {self.state}: {self.call.call_id}")
        if self.state == "talking":
            return self._end_of_talk(leg, at_ms)
        if at_ms >= self._gives_up_at_ms():
            return self._cancel(leg, at_ms, "caller")
        elapsed_ms = at_ms - leg.started_at_ms
        plan = leg.plan
        if not plan.has_channel:
            return self._leg_failed(leg, at_ms, "CHANUNAVAIL", _NO_ROUTE, "", "us")
        if elapsed_ms >= leg.timeout_ms and (plan.final_ms is None or plan.final_ms > leg.timeout_ms):
            return self._give_up(leg, at_ms, "NOANSWER")
        if 0 < leg.pdd_limit_ms <= elapsed_ms and not _shows_life(plan, leg.pdd_limit_ms):
            return self._give_up(leg, at_ms, "CHANUNAVAIL")
        if plan.final_ms is not None and elapsed_ms >= plan.final_ms:
            return self._final_answer(leg, at_ms)
        return self._progress(leg, at_ms, elapsed_ms)

    def hang_up(self, at_ms: int, cause: int = NORMAL_CLEARING, side: Side = "us") -> list[Output]:
        """The caller's channel is hung up from outside (AMI, or the node stops). Nothing where the call is over."""
        leg = self.leg
        if leg is None:
            if self.state == "waiting":
                self._hung_up_by = side  # the channel is held by the router's session until that ends
            return []
        if self.state == "talking":
            reason = Ending.BALANCE_EXHAUSTED if side == "us" and cause == CUT_CAUSE else ""
            return self._leg_over(leg, at_ms, "ANSWER", cause, side) + self._finish(at_ms, cause, side, reason)
        return self._cancel(leg, at_ms, side)

    # ---- the hunt

    def _next_leg(self, at_ms: int) -> list[Output]:
        left_ms = self._setup_ms() - (at_ms - self.call.started_at_ms)
        if left_ms < agi.MIN_LEFT_MS:
            return self._exhausted(at_ms, Ending.SETUP_TIME_OVER)
        if not self._find_room(at_ms):
            return self._finish(at_ms, _LIMIT, "us", Refusal.LIMIT)
        if self.legs + self.passed_over >= self._routes:
            return self._exhausted(at_ms)
        self.legs += 1
        number = self.legs
        facts = self._variables.get(f"ROUTE_{number}_FACTS", "")
        leg = Leg(
            number=number,
            started_at_ms=at_ms,
            timeout_ms=min(left_ms, self._number(f"ROUTE_{number}_TIMEOUT") * 1_000 or 60_000),
            pdd_limit_ms=self._number(agi.route_variable(number, agi.PDD)) * 1_000,
            dial=self._variables.get(f"ROUTE_{number}_DIAL", ""),
            facts=facts,
            plan=self.plan_leg(number, facts),
        )
        self.leg, self.state, self._last_facts = leg, "dialling", facts
        line = lines.leg_start(self.call, leg, self._variables.get(agi.CALL_FACTS, ""))
        self._schedule(leg)
        return [line, Signal("leg_made", number, at_ms, 0)] if leg.plan.has_channel else [line]

    def _find_room(self, at_ms: int) -> bool:
        """The next route with room gets the next leg's number, or none is left. False: none of the call's had room."""
        if self._variables.get(agi.LIMITED) != "1":
            return True
        self.take_places((), at_ms)
        place = self.legs + 1
        while (route := place + self.passed_over) <= self._routes:
            keys = [key for key in self._variables.get(f"ROUTE_{route}_LIMITS", "").split("&") if key]
            if not keys or self.take_places(keys, at_ms):
                moved = {f"ROUTE_{place}_{name}": f"ROUTE_{route}_{name}" for name in _OF_A_ROUTE}
                values = {to: self._variables.get(source, "") for to, source in moved.items()}
                self._variables = {**self._variables, **values}
                return True
            self.passed_over += 1
        return self.legs > 0

    def _schedule(self, leg: Leg) -> None:
        """The next moment at which something happens to the leg."""
        if leg.answered_at_ms is not None:
            self.next_at_ms = leg.answered_at_ms + min(leg.plan.talk_ms, self._longest_ms())
            return
        plan = leg.plan
        moments = [self._gives_up_at_ms(), leg.started_at_ms + (leg.timeout_ms if plan.has_channel else 0)]
        if leg.pdd_limit_ms and leg.ring_ms is None and leg.progress_ms is None:
            moments.append(leg.started_at_ms + leg.pdd_limit_ms)
        if plan.final_ms is not None:
            moments.append(leg.started_at_ms + plan.final_ms)
        if plan.ring_ms is not None and leg.ring_ms is None:
            moments.append(leg.started_at_ms + plan.ring_ms)
        if plan.progress_ms is not None and leg.progress_ms is None:
            moments.append(leg.started_at_ms + plan.progress_ms)
        self.next_at_ms = max(leg.started_at_ms, min(moments))

    def _progress(self, leg: Leg, at_ms: int, elapsed_ms: int) -> list[Output]:
        outputs: list[Output] = []
        if self._first_progress_ms is None:
            self._first_progress_ms = at_ms - self.call.started_at_ms
        if leg.plan.progress_ms is not None and elapsed_ms >= leg.plan.progress_ms and leg.progress_ms is None:
            leg.progress_ms = elapsed_ms
        if leg.plan.ring_ms is not None and elapsed_ms >= leg.plan.ring_ms and leg.ring_ms is None:
            leg.ring_ms = elapsed_ms
            outputs.append(Signal("ringing", leg.number, at_ms, 0))
        self._schedule(leg)
        return outputs

    def _final_answer(self, leg: Leg, at_ms: int) -> list[Output]:
        sip_code = leg.plan.sip_code
        if sip_code != 200:
            cause = sip_causes.cause_of_sip(sip_code)
            status = sip_causes.dial_status_of_cause(cause)
            return self._leg_failed(leg, at_ms, status, cause, sip_causes.status_line(sip_code), "callee")
        leg.answered_at_ms = at_ms
        if self._first_progress_ms is None:
            self._first_progress_ms = at_ms - self.call.started_at_ms
        self.state, self._answered = "talking", leg
        self._schedule(leg)
        answers = [lines.channel_line(self.call, "ANSWER", number, at_ms) for number in (leg.number, 0)]
        return [*answers, Signal("answered", leg.number, at_ms, 0)]

    def _end_of_talk(self, leg: Leg, at_ms: int) -> list[Output]:
        side: Side = leg.plan.ended_by if leg.plan.talk_ms <= self._longest_ms() else "us"
        reason = self._variables.get(agi.MAX_REASON, "") if side == "us" else ""
        outputs = self._leg_over(leg, at_ms, "ANSWER", NORMAL_CLEARING, side)
        return outputs + self._finish(at_ms, NORMAL_CLEARING, side, reason)

    def _give_up(self, leg: Leg, at_ms: int, status: str) -> list[Output]:
        """Its time is over: it rang and nobody answered, or there was no sign of life."""
        if leg.ring_ms is None and leg.progress_ms is None:
            return self._leg_failed(leg, at_ms, status, release.NO_PROGRESS_CAUSE, "", "us", release.NO_PROGRESS)
        return self._leg_failed(leg, at_ms, status, 0, "", "us", release.NO_ANSWER)

    def _leg_failed(
        self, leg: Leg, at_ms: int, status: str, cause: int, sip: str, side: Side, gave_up: str = ""
    ) -> list[Output]:
        outputs = self._leg_over(leg, at_ms, status, cause, side, sip)
        sip_code = leg.plan.sip_code if sip else 0
        meant = meaning(self._variables, leg.number, cause=cause, sip_code=sip_code, gave_up=gave_up)
        self._cause = meant.heard_cause or self._cause
        return outputs + (self._exhausted(at_ms) if meant.stops else self._next_leg(at_ms))

    def _exhausted(self, at_ms: int, reason: str = "") -> list[Output]:
        return self._finish(at_ms, self._cause or agi.NO_ANSWER_CAUSE, "us", reason)

    def _cancel(self, leg: Leg, at_ms: int, side: Side) -> list[Output]:
        return self._leg_over(leg, at_ms, "CANCEL", _ended_by(side), side) + self._gone(at_ms, side)

    def _gone(self, at_ms: int, side: Side) -> list[Output]:
        """The caller's channel has ended before the answer."""
        if side == "caller":
            self._status = "CANCEL"
        return self._finish(at_ms, _ended_by(side), side)

    # ---- the lines

    def _leg_over(self, leg: Leg, at_ms: int, status: str, cause: int, side: Side, sip: str = "") -> list[Output]:
        self._status = status
        self.leg = None
        line = lines.leg_result(self.call, leg, at_ms, status=status, cause=cause, sip=sip, side=side)
        if not leg.plan.has_channel:
            return [line]
        hung_up = lines.channel_line(self.call, "HANGUP", leg.number, at_ms)
        return [hung_up, line, Signal("leg_over", leg.number, at_ms, cause)]

    def _finish(self, at_ms: int, cause: int, side: Side, reason: str = "") -> list[Output]:
        self.state, self.next_at_ms, self.leg = "over", None, None
        self.take_places((), at_ms)
        line = lines.call_end(
            self.call,
            at_ms,
            answered_at_ms=None if self._answered is None else self._answered.answered_at_ms,
            pdd_ms=self._first_progress_ms,
            status=self._status,
            cause=cause,
            side=side,
            legs=self.legs,
            reason=reason,
            facts=self._variables.get(agi.CALL_FACTS, ""),
            last_facts=self._last_facts,
        )
        return [line, lines.channel_line(self.call, "HANGUP", 0, at_ms), Signal("call_over", 0, at_ms, cause)]

    def _gives_up_at_ms(self) -> int:
        return self.call.started_at_ms + self.call.patience_ms

    def _longest_ms(self) -> int:
        return self._number(agi.MAX_MS) or 14_400_000

    def _setup_ms(self) -> int:
        return self._number(agi.SETUP_MS) or _NO_LIMIT_MS

    def _number(self, name: str) -> int:
        return _whole_number(self._variables.get(name, ""))


def _ended_by(side: Side) -> int:
    """The cause of a call that ended before its answer: a CANCEL is an ordinary end."""
    return NORMAL_CLEARING if side == "caller" else _INTERWORKING


def _shows_life(plan: LegPlan, within_ms: int) -> bool:
    """Whether the vendor rings, sends progress or a final answer in that time."""
    signs = (plan.ring_ms, plan.progress_ms, plan.final_ms)
    return any(sign_ms is not None and sign_ms <= within_ms for sign_ms in signs)


def _whole_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
