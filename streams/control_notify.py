"""Tells of what controllers did: one POST of JSON for each notification to the address that is set, in order of time.

A notification waits in its table until the receiver has said 2xx; after each failure longer, and after TRIES it is
given up, which the page shows. At least once: the receiver knows a repeat by its `id`. Without an address it is kept.
"""

import json
from typing import Any, Final

import psycopg
import structlog
import urllib3
from pydantic import SecretStr

log = structlog.get_logger(__name__)
TRIES: Final = 8  # the last one some two hours after the first
AT_ONCE: Final = 5
ANSWER_SECONDS: Final = 2.0
_FIRST_PAUSE_SECONDS: Final = 60

_DUE: Final = """
    SELECT action_id, event, tries, kind, control, peers.name, code, action, cap_concurrent, reason, since, until,
           released_at, released_by, released_why
    FROM control_notifications JOIN control_actions USING (action_id) JOIN peers USING (peer_id)
    WHERE state = 'pending' AND next_try_at <= now() ORDER BY next_try_at LIMIT %s
"""
_KEEP: Final = "UPDATE control_notifications SET state = 'kept' WHERE state = 'pending'"
_TOLD: Final = """
    UPDATE control_notifications SET state = %s, tries = tries + 1, last_error = %s,
           next_try_at = now() + make_interval(secs => %s)
    WHERE action_id = %s AND event = %s
"""


class Notifier:
    """`tell` sends what is due, a few at a time: control never waits long for whoever does not answer."""

    def __init__(self, address: SecretStr | None) -> None:
        """`address`: an http or https URL; None: notifications are kept for the page."""
        self._address = address.get_secret_value() if address is not None else ""
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=ANSWER_SECONDS), retries=False, num_pools=1, maxsize=1
        )

    def tell(self, connection: psycopg.Connection[Any]) -> None:
        """Send what is due. Raises psycopg.Error alone: a receiver that is away is a row's error."""
        if not self._address:
            connection.execute(_KEEP)
            return
        for row in connection.execute(_DUE, (AT_ONCE,)).fetchall():
            action_id, event, tries = row[:3]
            error = self._post(message_of(row))
            state = "sent" if not error else "given up" if tries + 1 >= TRIES else "pending"
            pause = _FIRST_PAUSE_SECONDS * 2**tries
            connection.execute(_TOLD, (state, error[:300], pause, action_id, event))
            if error:
                log.warning("a notification was not taken", action=action_id, tells=event, state=state, error=error)
                return  # the others would only wait for the same receiver

    def _post(self, message: dict[str, Any]) -> str:
        """Empty, or why it was not taken."""
        try:
            answer = self._pool.request(
                "POST",
                self._address,
                body=json.dumps(message, ensure_ascii=False).encode(),
                headers={"Content-Type": "application/json", "User-Agent": "streamco"},
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return type(error).__name__  # its text may hold the address, which may hold a secret
        return "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"


def message_of(row: tuple[Any, ...]) -> dict[str, Any]:
    """What is posted, from a row of notifications that are due."""
    names = (
        "action_id", "event", "tries", "kind", "control", "peer", "code", "action", "cap_concurrent", "reason", "since",
        "until", "released_at", "released_by", "released_why",
    )  # fmt: skip
    values = dict(zip(names, row, strict=True))
    tries = values.pop("tries")
    dated = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in values.items()}
    return {"id": f"{values['action_id']}:{values['event']}", "try": tries + 1, **dated}
