"""The row of the matrix that a decision reads: what each vendor costs for the number called, by which code. Pure."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
import numpy
from numpy.typing import NDArray

from router.routing.limit_keys import code_key, peer_key, route_key
from router.routing.model import Priced, Route, Strategy, World
from router.snapshot.prices import BLOCKED_ROW, NO_COST
from router.snapshot.store import VendorMatrix

_NARROW_NONE: Final = 2**31 - 1


class Row(msgspec.Struct, frozen=True):
    """A row of a matrix; `first` is its first cell. Vendors are told by their numbers."""

    world: World
    strategy: Strategy
    matrix: VendorMatrix
    first: int
    callee: str
    seed: int
    now_ms: int

    def order(self) -> bytes:
        """The vendors by cost."""
        return bytes(self.matrix.order[self.first : self.first + len(self.matrix.vendors)])

    def costs(self) -> NDArray[Any]:
        """What each vendor costs, by number; where one has no price, more than the most."""
        return numpy.asarray(self.matrix.cost[self.first : self.first + len(self.matrix.vendors)])

    def lengths(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """The number of digits of the codes by which these vendors, who have a price, cost what they do."""
        rows = numpy.asarray(self.matrix.row[self.first : self.first + len(self.matrix.vendors)])[numbers]
        lengths: NDArray[Any] = numpy.asarray(self.matrix.index.lengths)[numpy.asarray(self.matrix.row_code)[rows]]
        return lengths

    def price_priorities(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """The priorities of these vendors' prices."""
        return numpy.zeros(len(numbers), dtype=numpy.int64)

    def price_priority(self, number: int) -> int:
        """The priority of the vendor's price."""
        return int(self.price_priorities(numpy.array([number]))[0])

    def price(self, number: int) -> Priced | None:
        """The vendor's price."""
        matrix = self.matrix
        row = matrix.row[self.first + number]
        if row < 0:
            return None
        code = self.callee[: matrix.index.lengths[matrix.row_code[row]]]
        return Priced(code, matrix.row_price_id[row], matrix.row_price_e8[row])

    def routes(self, numbers: Iterable[int]) -> tuple[Route, ...]:
        """The routes of these vendors, who have a price. What `price` says, inlined: this is half of a decision."""
        matrix, plan, first, callee = self.matrix, self.strategy.plan, self.first, self.callee
        cost, row, row_code, lengths = matrix.cost, matrix.row, matrix.row_code, matrix.index.lengths
        ids, prices, vendors, placed = matrix.row_price_id, matrix.row_price_e8, plan.vendors, plan.placed
        found = []
        for number in numbers:
            cell = first + number
            at = row[cell]
            price = Priced(callee[: lengths[row_code[at]]], ids[at], prices[at])
            found.append(Route(vendors[number], price, cost[cell], placed[number]))
        return tuple(found)

    def is_blocked(self, number: int) -> bool:
        """Whether the vendor has no price because its deck blocks the code."""
        return self.matrix.row[self.first + number] == BLOCKED_ROW

    def is_full(self, number: int) -> bool:
        """Whether a limit of the vendor, of the route, or of its code has no room."""
        full, placed = self.world.full, self.strategy.plan.placed[number]
        peer_id = placed.entry.peer_id
        if peer_key(peer_id) in full or route_key(placed.route_class.route_class_id, peer_id) in full:
            return True
        price = self.price(number)
        return price is not None and code_key(peer_id, price.code) in full


def dearest(matrix: VendorMatrix, most_cost_e8: int) -> int:
    """`most_cost_e8`, but below what stands for no price in this matrix."""
    narrow = isinstance(matrix.cost, memoryview) and matrix.cost.itemsize == 4
    return min(most_cost_e8, (_NARROW_NONE if narrow else NO_COST) - 1)
