"""The exchange rates in force at a moment, and when the next one comes into force. Pure."""

from router.snapshot.config import PAR, Config, Rate


def rates_at(config: Config, at_ms: int) -> dict[str, Rate]:
    """What each currency is in the system's at `at_ms`, the system's own among them."""
    rates: dict[str, Rate] = {}
    for one in sorted(config.exchange_rates, key=lambda one: one.effective_ms):
        if one.effective_ms <= at_ms:
            rates[one.currency] = one.rate
    if config.system_currency:
        rates[config.system_currency] = PAR  # whatever it was when another currency was the system's
    return rates


def next_rate_ms(config: Config, at_ms: int) -> int | None:
    """The first moment after `at_ms` at which a rate changes."""
    return min((one.effective_ms for one in config.exchange_rates if one.effective_ms > at_ms), default=None)
