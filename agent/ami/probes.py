"""What OPTIONS show of the vendors that are probed, asked of Asterisk, which sends them and takes any answer for one.

Asterisk spreads the probes over time and bounds them as configuration/asterisk/render.py says. A vendor that does not
answer is not dialled by it; routers skip it once they know. AMI away: the last state stands, and shows its age.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from agent.ami.client import AmiError, AmiSession
from agent.ami.reach import Reach
from agent.settings import AgentSettings
from sinks.reachability import Probe, Vendor

log = structlog.get_logger(__name__)
_AT_ONCE: Final = 50  # questions to Asterisk
_STATES: Final[dict[str, Probe]] = {"Reachable": "reachable", "Unreachable": "unreachable"}


class Probes:
    """`run` asks until it is cancelled. Nobody is probed: nothing is asked."""

    def __init__(self, settings: AgentSettings, reach: Reach) -> None:
        self._settings = settings
        self._reach = reach
        self._contacts: dict[str, str] = {}  # by endpoint
        self._probed: set[int] = set()
        self.health = ""

    async def run(self) -> None:
        """Rounds, whatever is away; each failure is said once."""
        while True:
            try:
                await self._session()
                self.health = ""
            except AmiError as error:
                if not self.health:
                    log.warning("vendors' probes are not known", error=repr(error)[:300])
                self.health = "vendors' probes are not known"
            await asyncio.sleep(self._settings.probes_seconds)

    async def _session(self) -> None:
        """One session for as long as there are vendors to ask about. Raises AmiError."""
        settings = self._settings
        if not self._wanted() and not self._probed:
            return
        session = await AmiSession.open(
            settings.ami_host,
            settings.ami_port,
            settings.ami_user,
            settings.ami_secret.get_secret_value(),
            lambda _headers: None,
            settings.limits_answer_seconds,
            events=False,
            run_by=settings.ami_run_by,
        )
        try:
            while self._wanted() or self._probed:
                await self.round(session)
                self.health = ""
                await asyncio.sleep(settings.probes_seconds)
        finally:
            session.close()

    async def round(self, session: AmiSession) -> None:
        """Ask about each vendor once. Raises AmiError."""
        wanted = self._wanted()
        found: dict[int, Probe | None] = dict.fromkeys(self._probed - {vendor.peer_id for vendor in wanted})
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            states = await asyncio.gather(*(self._state(session, vendor.endpoint) for vendor in some))
            found |= {vendor.peer_id: state for vendor, state in zip(some, states, strict=True)}
        self._reach.probed(found)
        self._probed = {vendor.peer_id for vendor in wanted}

    def _wanted(self) -> Sequence[Vendor]:
        return [vendor for vendor in self._reach.vendors.values() if vendor.probe]

    async def _state(self, session: AmiSession, endpoint: str) -> Probe:
        contact = self._contacts.get(endpoint) or await _ask(session, f"PJSIP_AOR({endpoint},contact)")
        state = await _ask(session, f"PJSIP_CONTACT({contact},status)") if contact else ""
        if state:
            self._contacts[endpoint] = contact
        else:
            self._contacts.pop(endpoint, None)  # its address has changed: the contact has another name now
        return _STATES.get(state, "unknown")


async def _ask(session: AmiSession, expression: str) -> str:
    """What a function of the dialplan says; empty where Asterisk does not know. Raises AmiError."""
    answer = await session.ask({"Action": "Getvar", "Variable": expression})
    return str(answer[0].get("value", "") or "") if answer[0].success else ""
