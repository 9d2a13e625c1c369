"""One SIP call as a test sees it: what SIPp received, and what the node's journal says."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from journal_events import events_of

from schemas.events import CallEnded, LegAnswered, LegEnded, LegStarted
from schemas.journal import JournalEvent

_WAIT_SECONDS: Final = 30.0
_REFUSAL: Final = r"^SIP/2\.0 [3-6]"


@dataclass
class Placed:
    """A call of SIPp: whether its scenario went as written, and the first lines of what it received."""

    name: str
    address: str  # ip:port it was placed from: what tells it from every other call
    process: "subprocess.Popen[bytes]"
    directory: Path
    code: int | None = None

    def wait(self) -> "Placed":
        """Until SIPp has ended by itself."""
        self.code = self.process.wait(_WAIT_SECONDS)
        return self

    @property
    def received(self) -> list[str]:
        """`SIP/2.0 180 Ringing`, … in order."""
        path = self.directory / f"{self.name}.messages"
        if not path.exists():
            return []
        found = []
        for line in path.read_text(errors="replace").splitlines():
            columns = line.split("\t")
            if len(columns) > 1 and "R" in columns[:4]:
                found.append(columns[-1])
        return found

    @property
    def whole(self) -> str:
        """Every message, in and out."""
        return (self.directory / f"{self.name}.whole").read_text(errors="replace")

    @property
    def reasons(self) -> list[str]:
        """The Reason headers of the final refusals that it received."""
        refusals = [text for text in re.split(r"^-{20,}", self.whole, flags=re.M) if re.search(_REFUSAL, text, re.M)]
        return [reason for text in refusals for reason in re.findall(r"^Reason: (.*?)\r?$", text, re.M)]

    def said(self) -> str:
        """What SIPp complained of."""
        return (self.directory / f"{self.name}.log").read_text(errors="replace")[-1500:]


@dataclass(frozen=True)
class Call:
    """What the journal says of one call."""

    ended: CallEnded
    legs: list[LegEnded]
    started: list[LegStarted]
    answered: list[LegAnswered]


def calls_in(journal: bytes) -> dict[str, Call]:
    """The closed calls of a journal by the address that they came from; every line is one of ours."""
    events = events_of(line for line in journal.splitlines(keepends=True) if line.endswith(b"\n"))
    by_call: dict[str, list[JournalEvent]] = {}
    for event in events:
        by_call.setdefault(event.call_id, []).append(event)
    calls = {}
    for lines in by_call.values():
        ended = [line for line in lines if isinstance(line, CallEnded)]
        if ended:
            assert len(ended) == 1, f"{ended[0].call_id} is closed {len(ended)} times"
            calls[ended[0].remote_address] = Call(
                ended[0],
                [line for line in lines if isinstance(line, LegEnded)],
                [line for line in lines if isinstance(line, LegStarted)],
                [line for line in lines if isinstance(line, LegAnswered)],
            )
    return calls
