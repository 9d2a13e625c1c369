"""The row of the matrices that a decision reads: what each vendor costs for the number called, by which code. Pure."""

from typing import Any, Final

import msgspec
import numpy
from numpy.typing import NDArray

from router.core.limit_keys import code_key, held_key, peer_key, route_key, stopped_key
from router.core.limits import limits_of
from router.core.model import Inbound, Priced, Route, Sent, Strategy, World
from router.core.numbers import NotSent, to_send
from router.snapshot.prices import NO_COST
from router.snapshot.store import VendorMatrix
from schemas.refusals import Verdict
from tariffs.codecs import Codecs

_NARROW_NONE: Final = 2**31 - 1


class Row(msgspec.Struct, frozen=True, gc=False):
    """What all vendors have for one code of theirs, the longest for a number. Vendors are told by their numbers."""

    world: World
    strategy: Strategy
    code: int
    callee: str
    seed: int
    now_ms: int
    inbound: Inbound
    usual: Sent | None  # what every vendor without rules is sent; None where it depends on whom we trust
    codecs: Codecs = ()  # the caller's that are left in this call; none: not known, and not asked about
    unfit: frozenset[int] = frozenset()  # the numbers of vendors that have none of them
    made: dict[int, Sent | NotSent] = msgspec.field(default_factory=dict)  # of the others, by number
    priced: dict[int, Priced] = msgspec.field(default_factory=dict)  # what was looked up already, by number

    places: dict[int, tuple[list[int], list[int]]] = msgspec.field(default_factory=dict)  # of matrices, by their first

    @property
    def has_rules(self) -> bool:
        """Whether any vendor that has a price may have to be passed over all the same."""
        world = self.world
        return bool(
            world.full or world.unreachable or self.unfit or self.usual is None or world.snapshot.numbers.vendors
        )

    def sent(self, number: int) -> Sent | NotSent:
        """What a vendor is sent of the call, or why it is not sent."""
        vendor, numbers = self.strategy.plan.vendors[number], self.world.snapshot.numbers
        if number in self.unfit:
            return NotSent(Verdict.NO_COMMON_CODEC, f"has {vendor.codecs}; the call has {','.join(self.codecs)}")
        if self.usual is not None and vendor.peer_id not in numbers.vendors:
            return self.usual
        made = self.made.get(number)
        if made is None:
            made = self.made[number] = to_send(numbers, self.inbound, vendor, self.now_ms)
        return made

    def is_passed_over(self, number: int) -> bool:
        """Whether a vendor has no room, does not answer, or is not sent this call."""
        world = self.world
        if (world.full and self.is_full(number)) or (world.unreachable and self.why_unreachable(number)):
            return True
        return not isinstance(self.sent(number), Sent)

    def why_unreachable(self, number: int) -> str:
        """How it is known that a vendor does not answer; empty: it may."""
        return self.world.unreachable.get(self.strategy.plan.placed[number].entry.peer_id, "")

    def affordable(self, most_cost_e8: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The numbers of the vendors that may be tried and cost no more, and what they cost."""
        matrices, usable = self.world.snapshot.matrices, self.strategy.usable
        if len(matrices) == 1:
            costs = self._cells(matrices[0], matrices[0].cost)
            numbers = (usable & (costs <= dearest(matrices[0], most_cost_e8))).nonzero()[0]
            return numbers, costs[numbers]
        parts = [self._cells(matrix, matrix.cost) for matrix in matrices]
        good = [part <= dearest(matrix, most_cost_e8) for matrix, part in zip(matrices, parts, strict=True)]
        numbers = (usable & numpy.concatenate(good)).nonzero()[0]
        return numbers, numpy.concatenate([part.astype(numpy.int64) for part in parts])[numbers]

    def columns(self, numbers: list[int]) -> tuple[list[int], list[int], list[int], list[int]]:
        """Of these vendors: the digits of the code that applies, the price's id, the price, and what they cost.

        No digits: no code applies. Below zero is the price of one that has none, and of a code that is blocked.
        """
        digits: list[int] = []
        price_ids: list[int] = []
        prices_e8: list[int] = []
        costs_e8: list[int] = []
        first, last = 0, -1
        for number in numbers:
            if not first <= number <= last:
                matrix = self.world.snapshot.matrix_of(number)
                first, last = matrix.first, matrix.first + len(matrix.vendors) - 1
                cost, cell = matrix.cost, self.code * len(matrix.vendors) - first
                of_matrix, places = self._places(matrix)
            at = number - first
            digits.append(of_matrix[at])
            if of_matrix[at]:
                place = places[at]
                price_ids.append(matrix.price_ids[at][place])
                prices_e8.append(matrix.prices_e8[at][place])
            else:
                price_ids.append(0)
                prices_e8.append(-1)
            costs_e8.append(cost[cell + number])
        return digits, price_ids, prices_e8, costs_e8

    def _places(self, matrix: VendorMatrix) -> tuple[list[int], list[int]]:
        found = self.places.get(matrix.first)
        if found is None:
            found = self.places[matrix.first] = matrix.all_places(self.code)
        return found

    def lengths(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """The number of digits of the codes by which these vendors, who have a price, cost what they do."""
        parts = [self._cells(matrix, matrix.digits) for matrix in self.world.snapshot.matrices]
        found: NDArray[Any] = (parts[0] if len(parts) == 1 else numpy.concatenate(parts))[numbers]
        return found

    def price_priority(self, number: int) -> int:
        """The priority of a vendor's price."""
        price = self.price(number)
        return self.world.snapshot.config.price_priorities.get(price.price_id, 0) if price else 0

    def price_priorities(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """The priorities of these vendors' prices; as a rule no price has one."""
        if not self.world.snapshot.config.price_priorities:
            return numpy.zeros(len(numbers), dtype=numpy.int64)
        return numpy.array([self.price_priority(number) for number in numbers.tolist()], dtype=numpy.int64)

    def cost_e8(self, number: int) -> int:
        """What a vendor with a price costs."""
        matrix = self.world.snapshot.matrix_of(number)
        return matrix.cost[self.code * len(matrix.vendors) + number - matrix.first]

    def price(self, number: int) -> Priced | None:
        """The vendor's price. Looked up once: the FACTS and the explanation want it."""
        known = self.priced.get(number)
        if known is not None:
            return known
        matrix = self.world.snapshot.matrix_of(number)
        at = number - matrix.first
        digits = matrix.digits[self.code * len(matrix.vendors) + at]
        if not digits:
            return None
        price_id, price_e8 = matrix.price(self.code, at)
        if price_e8 < 0:
            return None
        found = self.priced[number] = Priced(self.callee[:digits], price_id, price_e8)
        return found

    def look_up(self, numbers: list[int]) -> None:
        """Look the prices of these vendors up, who have one: with what their explanation needs of them anyway."""
        digits, price_ids, prices_e8, _costs_e8 = self.columns(numbers)
        for number, length, price_id, price_e8 in zip(numbers, digits, price_ids, prices_e8, strict=True):
            self.priced[number] = Priced(self.callee[:length], price_id, price_e8)

    def routes(self, numbers: list[int]) -> tuple[Route, ...]:
        """The routes of these vendors, who have a price."""
        snapshot, plan, usual = self.world.snapshot, self.strategy.plan, self.usual
        vendors, placed = plan.vendors, plan.placed
        if usual is not None and not snapshot.numbers.vendors and len(snapshot.matrices) == 1:  # as a rule
            matrix = snapshot.matrices[0]
            cost, cell = matrix.cost, self.code * len(matrix.vendors)
            return tuple([Route(vendors[one], self, one, cost[cell + one], placed[one], usual) for one in numbers])
        found = []
        for number in numbers:
            sent = self.sent(number)
            if isinstance(sent, Sent):  # always so: the others were passed over
                found.append(Route(vendors[number], self, number, self.cost_e8(number), placed[number], sent))
        return tuple(found)

    def is_full(self, number: int) -> bool:
        """Whether a limit of the vendor, of the route, or of the vendor's code has no room."""
        full, placed = self.world.full, self.strategy.plan.placed[number]
        peer_id = placed.entry.peer_id
        if peer_key(peer_id) in full or route_key(placed.route_class.route_class_id, peer_id) in full:
            return True
        if self.is_stopped(number):
            return True
        code = limits_of(self.world.snapshot).of_code(peer_id, self.inbound.callee)
        return (code is not None and code_key(peer_id, code.code) in full) or self.is_held(number)

    def is_stopped(self, number: int) -> bool:
        """Whether the vendor has too many open dead letters."""
        return stopped_key(self.strategy.plan.placed[number].entry.peer_id) in self.world.full

    def is_held(self, number: int) -> bool:
        """Whether a controller blocks the vendor, or its code."""
        if not self.world.snapshot.config.control_blocks:
            return False
        full, peer_id = self.world.full, self.strategy.plan.placed[number].entry.peer_id
        price = self.price(number)
        return held_key(peer_id) in full or (price is not None and held_key(peer_id, price.code) in full)

    def _cells(self, matrix: VendorMatrix, values: Any) -> NDArray[Any]:
        width = len(matrix.vendors)
        return numpy.asarray(values[self.code * width : (self.code + 1) * width])


def dearest(matrix: VendorMatrix, most_cost_e8: int) -> int:
    """`most_cost_e8`, but below what stands for no price in this matrix."""
    narrow = isinstance(matrix.cost, memoryview) and matrix.cost.itemsize == 4
    return min(most_cost_e8, (_NARROW_NONE if narrow else NO_COST) - 1)
