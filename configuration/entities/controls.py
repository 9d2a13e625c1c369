"""Controllers in a world file: what is watched, from which threshold on, and what is done about it.

    termination_controls:
      - {name: Bad ASR, metric: asr, threshold: 20, checks: 3, check_seconds: 60, release_minutes: 30}
      - {name: Bad codes, scope: code, code_prefix: 880, metric: ner, threshold: 40, action: block}
    origination_controls:
      - {name: Surge, measure: cps, threshold: 50, window_seconds: 60, action: cap, cap_concurrent: 100}
      - {name: Nights, peer: acme, measure: spend, threshold: 5000, timetable: "daily 22:00-06:00",
         time_zone: Europe/Berlin, timetable_threshold: 200}

Without `peer` a control watches every vendor, or every customer, each by itself.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from configuration.entities.codes import CodeOrAny
from configuration.entities.parts import Name, Part, PeerName, TimeZone, Whole, exact
from configuration.entities.tables import Tables
from tariffs.timetable import TimetableError, parse_timetable

Threshold = Annotated[Decimal, BeforeValidator(exact), Field(ge=0, max_digits=10, decimal_places=2)]
Quantity = Annotated[Decimal, BeforeValidator(exact), Field(ge=0, max_digits=18, decimal_places=6)]
Window = Annotated[Whole, Field(ge=10, le=3600, multiple_of=10)]
Checks = Annotated[Whole, Field(ge=1, le=100)]
Minutes = Annotated[Whole, Field(ge=1, le=43_200)]
Most = Annotated[Whole, Field(ge=1, le=10_000)]
_LONGEST_SECONDS = 7_200
_PERCENT = ("asr", "ner", "fas")


class TerminationControl(Part):
    """Watches vendors, or their codes as bought. Percent of asr, ner, fas; seconds of acd, pdd."""

    name: Name
    metric: Literal["asr", "acd", "ner", "pdd", "fas"]
    threshold: Threshold
    enabled: bool = True
    peer: PeerName | None = None
    scope: Literal["vendor", "code"] = "vendor"
    code_prefix: CodeOrAny = ""
    checks: Checks = 3
    check_seconds: Window = 60
    window_seconds: Window = 300
    minimum_sample: Annotated[Whole, Field(ge=1, le=1_000_000)] = 30
    action: Literal["block", "demote"] = "block"
    release_minutes: Minutes | None = None
    most_actions: Most = 10
    notify: bool = True

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.code_prefix and self.scope != "code":
            raise ValueError(f"code_prefix {self.code_prefix!r}: only of scope code")
        if self.metric in _PERCENT and self.threshold > 100:
            raise ValueError(f"threshold {self.threshold}: {self.metric} is percent, 100 at most")
        if self.window_seconds + self.checks * self.check_seconds > _LONGEST_SECONDS:
            raise ValueError(
                f"window_seconds {self.window_seconds}: with {self.checks} checks of {self.check_seconds} s it must be "
                f"{_LONGEST_SECONDS} s at most"
            )
        return self


class OriginationControl(Part):
    """Watches customers. `spend` is in the currency of the customer's account."""

    name: Name
    measure: Literal["concurrent", "cps", "minutes", "spend", "new_destinations"]
    threshold: Quantity
    enabled: bool = True
    peer: PeerName | None = None
    timetable: Annotated[str, StringConstraints(max_length=500)] = ""
    time_zone: TimeZone = "UTC"
    timetable_threshold: Quantity | None = None
    window_seconds: Window = 3600
    check_seconds: Window = 10
    action: Literal["block", "cap"] = "block"
    cap_concurrent: Annotated[Whole, Field(ge=1, le=100_000)] | None = None
    release_minutes: Minutes | None = None
    most_actions: Most = 10
    notify: bool = True

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.action == "cap") != (self.cap_concurrent is not None):
            raise ValueError(f"cap_concurrent {self.cap_concurrent}: goes with action cap, and with no other")
        if (self.timetable == "") != (self.timetable_threshold is None):
            raise ValueError(f"timetable_threshold {self.timetable_threshold}: goes with a timetable, and not without")
        try:
            parse_timetable(self.timetable, self.time_zone)
        except TimetableError as error:
            raise ValueError(f"timetable {self.timetable!r}: {error}") from error
        return self


def put_controls(
    tables: Tables, termination: Sequence[TerminationControl], origination: Sequence[OriginationControl]
) -> None:
    """Write the controls, by name; the peers are there already."""
    for index, watching in enumerate(termination):
        _put(tables, f"termination_controls[{index}]", "termination_controls", watching)
    for index, control in enumerate(origination):
        _put(tables, f"origination_controls[{index}]", "origination_controls", control)


def _put(tables: Tables, path: str, table: str, control: TerminationControl | OriginationControl) -> None:
    values: dict[str, Any] = {**control.model_dump(exclude={"peer"}), "peer_id": None}
    if control.peer is not None:
        values["peer_id"] = tables.id_of("peers", control.peer)
        if values["peer_id"] is None:
            tables.errors.append(f"{path}.peer {control.peer!r}: there is no such peer")
            return
    tables.put(path, table, values)
