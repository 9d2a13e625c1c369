"""A record of a request that was refused before the dialplan, as the agent writes it."""

from typing import Any


def refused_row(address: str, *, at_ms: int, **values: Any) -> dict[str, Any]:
    """One of codecs that nobody has here, with what is given otherwise."""
    return {
        "at_ms": at_ms, "address": address, "port": 5060, "method": "INVITE", "sip_code": 488,
        "reason": "Not Acceptable Here", "sip_call_id": "abc@x", "not_recorded": 3, **values,
    }  # fmt: skip
