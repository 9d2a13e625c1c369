"""The yardstick of P1: a dict of codes for each vendor, asked by descending length; no filters, no reasons."""

from bench.price_world import EXPECTED_SECONDS, Market
from router.snapshot.code_index import split_keys
from router.snapshot.prices import comparable_e8
from schemas.agi import MAX_ROUTES


class NaiveRouting:
    """Knows each vendor's comparable cost by code; None where the code is blocked."""

    def __init__(self, market: Market) -> None:
        self._vendors: list[dict[str, int | None]] = []
        texts: dict[tuple[int, int], str] = {}
        for deck, pack in zip(market.vendor_decks, market.vendor_packs, strict=True):
            costs = comparable_e8(pack, deck.prices_e8, EXPECTED_SECONDS).tolist()
            codes: dict[str, int | None] = {}
            rows = zip(*(part.tolist() for part in split_keys(deck.keys)), deck.prices_e8.tolist(), costs, strict=True)
            for code, length, price_e8, cost_e8 in rows:
                text = texts.setdefault((code, length), str(code).zfill(length))
                codes[text] = cost_e8 if price_e8 >= 0 else None
            self._vendors.append(codes)

    def route(self, number: str, most_cost_e8: int) -> list[int]:
        """The vendors to try, the cheapest first, none dearer than `most_cost_e8`."""
        found: list[tuple[int, int]] = []
        for vendor, codes in enumerate(self._vendors):
            for length in range(len(number), 0, -1):
                code = number[:length]
                if code in codes:
                    cost_e8 = codes[code]
                    if cost_e8 is not None and cost_e8 <= most_cost_e8:
                        found.append((cost_e8, vendor))
                    break
        found.sort()
        return [vendor for _, vendor in found[:MAX_ROUTES]]
