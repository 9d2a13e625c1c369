"""What routing has worked out of a snapshot, and keeps with it: each is a function of the frozen snapshot, and of now.

Values stand apart from caches: a snapshot is compared, replaced and read without them. Filling one twice at once, from
two threads, does no harm. The types are those of the core, which fills them; nothing of it is imported to run.
"""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from router.core.controls import Controls
    from router.core.limits import Limits
    from router.core.model import Plan, Strategy


class Caches:
    """Empty at first. None: not worked out yet."""

    __slots__ = (
        "code_prefixes", "controls", "limits", "numbers", "plans", "salts", "shared_strategies", "strategies", "unfit",
    )  # fmt: skip

    def __init__(self) -> None:
        self.plans: dict[tuple[int, int, str], Plan] = {}  # by route class, company, currency
        self.strategies: dict[tuple[int, int], Strategy] = {}  # by originator and route class
        # By route class, company, currency, hunting class: originators who differ in their terms alone.
        self.shared_strategies: dict[tuple[int, int, str, int], Strategy] = {}
        self.controls: Controls | None = None
        self.limits: Limits | None = None
        self.numbers: dict[int, int] | None = None  # the number of each vendor, by peer id
        self.salts: NDArray[Any] | None = None  # what stands for each vendor in draws
        self.code_prefixes: tuple[str, ...] | None = None  # of the keys of a vendor's quality by code
        self.unfit: dict[int, frozenset[int]] = {}  # numbers of vendors without a common codec, by the set of codecs
