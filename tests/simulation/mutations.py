"""Deliberate bugs, switched on one at a time: is the simulation able to find them?

A mutation is an edit of the source of one function: of the product where the product's own code runs here, of the model
where the product has SQL (tests/simulation/test_contract.py holds the model to the real PostgreSQL). An edit that does
not fit any more is an error, so the list cannot fall behind the code. The code in the repository has no switches.
"""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple


class Edit(NamedTuple):
    """In the function `place` (module:name, or module:Class.name) `old`, which stands there once, becomes `new`."""

    place: str
    old: str
    new: str


class Mutation(NamedTuple):
    """A bug."""

    name: str
    edits: tuple[Edit, ...]
    near: int = 0  # of a bug that shows seldom: the seed from which the tests, which have little time, look for it

    @property
    def is_of_model(self) -> bool:
        """Whether it is the model of a server that is changed."""
        return any(edit.place.startswith("tests.") for edit in self.edits)


def _one(name: str, place: str, old: str, new: str) -> Mutation:
    return Mutation(name, (Edit(place, old, new),))


_ACKS: Final = "    for event in batch:\n        await stream.ack(event)\n"
_RATE: Final = "    await dead_letters.send(dead)\n    await send_all("
_RELEASE: Final = 'await self._connection.execute("SELECT release_holds(%s::text[])", (_text_array(ended),))\n'
_TABLES: Final = "tests.simulation.tables:Tables"

MUTATIONS: Final = (
    _one("acknowledged before the rated legs are sent", "streams.billing:rate_batch", _RATE, _ACKS + _RATE)
    ._replace(near=25),
    _one("acknowledged before the ledger has committed", "streams.billing:post_batch",
         "    numbered, dead = read_rated(batch)\n", _ACKS + "    numbered, dead = read_rated(batch)\n")
    ._replace(near=25),
    _one("acknowledged before ClickHouse has answered", "streams.cdrs:write_batch",
         "    numbered, dead = read_rated(batch)\n", _ACKS + "    numbered, dead = read_rated(batch)\n")
    ._replace(near=70),
    _one("sent, and the broker's answer not waited for", "streams.output:send_all",
         "await asyncio.gather(*sent)", "pass"),
    _one("a message that failed among others is forgotten", "streams.output:send_all",
         "await asyncio.gather(*sent)",
         "for one in sent:\n            try:\n                await one\n"
         "            except Exception:\n                pass"),
    _one("journal's offset stored before the acknowledgement", "agent.relay:Relay.round",
         "            self._sender.send(outbox.messages)\n",
         "            store_state(self._settings.directory, batch.state)\n            self.state = batch.state\n"
         "            self._sender.send(outbox.messages)\n"),
    _one("a torn line is taken whole", "agent.journal.marks:whole_lines", 'chunk.rfind(b"\\n") + 1', "len(chunk)"),
    _one("a rotated file is forgotten", "agent.journal.files:look",
         "entry.name.startswith(LIVE_NAME)", "entry.name == LIVE_NAME")._replace(near=25),
    Mutation("a file is known by its inode alone", (
        Edit("agent.journal.marks:find_mark", "        if mark.head == head:\n            if mark.inode == inode:",
             "        if mark.inode == inode:\n            if mark.inode == inode:"),
        Edit("agent.journal.files:_read_file", "len(data) < edge or tail_of(data[:edge]) != mark.tail", "False"),
    )),
    _one("a line behind a torn one is lost with it", "agent.journal.marks:whole_lines",
         "[part for line in lines for part in parts_of(line)] if has_parts(whole) else lines", "lines"),
    _one("a torn line closes its leg", "agent.journal.open_calls:OpenCalls.take",
         "if not has_parts(whole):", "if True:")._replace(near=540),
    _one("a line that cannot be read is passed over", "agent.outbox:fill_outbox",
         "letters.append(_letter(node, line, error, now_ms))", "pass"),
    _one("events of a call are in the partition of its node", "agent.outbox:fill_outbox",
         "calls.append((event.call_id, raw))", "calls.append((node, raw))"),
    _one("the new start is stored before the crashed calls are closed", "agent.restart.restart:Restart.is_done",
         "self._told and self._found is not None and self._sent == len(self._found)", "self._told"),
    _one("calls that died with Asterisk are not closed", "agent.restart.estimates:close_call",
         "if not lines.starts:", "if lines.starts:"),
    _one("a call that is too young for a status is not counted any more", "agent.counters:Counters._tell_status",
         "node_clock_ms - _GRACE_MS", "node_clock_ms + 60_000"),
    _one("an estimate is billed beside the true end", "sinks.ledger:Ledger._insert",
         "{leg.leg_id for leg in legs if leg.revision != ORDINARY_REVISION}", "set()"),
    _one("an estimate passes for the true end", "streams.folds.rating:rate_leg",
         "ESTIMATED_REVISION if ended.estimated else TRUE_REVISION", "TRUE_REVISION"),
    _one("a call without a router's answer is not rated", "streams.folds.rating:rate_message",
         "for _, event in closed.found]", "for _, event in closed.found if event.facts is not None]"),
    _one("the neighbours of a bad event are dropped", "streams.folds.reading:read_message",
         "            dead.append(", "            break\n            dead.append("),
    _one("a bad event's neighbours behind it are dropped", "streams.folds.reading:read_message",
         "str(error), now_ms, leg_told(bytes(raw))))", "str(error), now_ms, leg_told(bytes(raw))))\n            break"),
    _one("rated legs are placed by leg, not by account", "streams.output:rated_messages",
         "str(leg.account_id)", "leg.leg_id"),
    _one("dead letters are dropped", "streams.output:DeadLetters.send", "if not letters:", "if letters:"),
    _one("legs that the ledger refuses are forgotten", "streams.billing:post",
         "in posted.rejected:", "in posted.rejected[:0]:"),
    _one("dead letters are acknowledged and not kept", "streams.letters:keep_batch",
         "placed = letters_of(batch)\n", "placed: list[Any] = []\n"),
    _one("a letter without room in its peer's limit goes nowhere", "streams.output:DeadLetters.send",
         "{*kept.new, *(letter.origin for letter in kept.waiting)}", "set(kept.new)"),
    _one("letters that wait for room are forgotten", "streams.letters:keep_batch",
         "await note_waiting(connection, [one for one in placed if one.letter.origin in waiting])", "pass"),
    _one("letters that wait stay where they are", "sinks.dead_letters.waiting:take_waiting",
         "[one.letter for one in placed]", "[]")._replace(near=95),
    _one("a peer's letters have no limit", "sinks.dead_letters.store:share_out",
         "counts.get(peer_id, 0) < limit", "True"),
    _one("a replay is recorded and not sent", "streamco.dead_letters_cli:_replay_one",
         "place = sender.send(message)", 'place = ""'),
    _one("a hold is never released", "sinks.ledger:Ledger.post",
         "            if ended:\n", "            if not ended:\n"),
    _one("a hold is released before its leg is posted", "sinks.ledger:Ledger.post",
         "        async with self._connection.transaction():\n",
         f"        {_RELEASE}        async with self._connection.transaction():\n"),
    _one("a call vanishes between the decision and the journal", "tests.simulation.asterisk:Asterisk._write",
         'line.values["call"] in self.vanished', 'line.values["call"].endswith("7")'),
    _one("a hold without an end of its call is never swept", "agent.counters:Counters._tell_status",
         "time.monotonic() - self._swept_at > self._settings.sweep_seconds", "False"),
    _one("calls that died before any line are not closed", "agent.counters:Counters._close_orphans",
         "        if orphans:\n", "        if not orphans:\n")._replace(near=15),
    _one("calls that died are closed without a look into the journal", "agent.counters:Counters._close_orphans",
         "if one.call_id not in told]", "]"),
    _one("an audit that does not look at admitted calls", "sinks.audit.full.audit:_call_differences",
         "stores.admitted", "()"),
    _one("an audit for which every call is up", "sinks.audit.continuous.calls:state_of",
         "call.call_id in last.calls", "True"),
    Mutation("a hold is never swept, and the audit does not look at holds", (
        Edit("agent.counters:Counters._tell_status",
             "time.monotonic() - self._swept_at > self._settings.sweep_seconds", "False"),
        Edit("sinks.audit.full.calls:judge_open", "*opened.holds", "*()"),
    )),
    _one("a leg is posted as often as it comes", f"{_TABLES}.post", " and key not in self.entries", ""),
    _one("balances move by what was sent, not by what was inserted", f"{_TABLES}.post",
         "self.move(inserted)", "self.move((leg.account_id, leg.amount_micros) for leg in legs)"),
    _one("a correction posts the whole amount", f"{_TABLES}.revise",
         "leg.amount_micros - own", "leg.amount_micros"),
    _one("a correction is lost", f"{_TABLES}.revise",
         "if highest is not None and leg.revision <= highest:", "if highest is not None:"),
    _one("a zombie's old estimate replaces the true bill", f"{_TABLES}.revise",
         "if highest is not None and leg.revision <= highest:", "if highest is not None and leg.revision == highest:")
    ._replace(near=175),
    _one("a call is uncounted as often as it is seen to end", f"{_TABLES}.uncount",
         "if hold is not None and hold.counted:", "if hold is not None:")._replace(near=35),
    _one("admitted whatever the account has", f"{_TABLES}.admit", "if hold.amount_micros > free:", "if False:"),
    _one("the limit of calls at once is not kept", f"{_TABLES}.admit", "0 < most_calls <= counter.concurrent", "False"),
    _one("a released hold stays in what is held", f"{_TABLES}._give_back",
         "self.hold_more(hold.account_id, -hold.amount_micros)", "pass"),
    _one("a call's estimated CDR stays beside the true one", "sinks.cdrs:drop_replaced_estimates",
         "    if replaced:\n", "    if not replaced:\n"),
    _one("CDRs are not deduplicated", "tests.simulation.clickhouse:ClickHouse.keep",
         "known = self.rows.get(key)", "key = (*key, self.inserts)\n    known = self.rows.get(key)"),
    _one("of a CDR's revisions the last to come stands", "tests.simulation.clickhouse:ClickHouse.keep",
         "known is None or row.revision >= known.revision", "True")._replace(near=1838),
)  # fmt: skip


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The bug is in the code until this is left."""
    undo: list[tuple[Any, str, Any]] = []
    try:
        for edit in mutation.edits:
            undo += _apply(edit)
        yield
    finally:
        for owner, name, original in reversed(undo):
            setattr(owner, name, original)


def _apply(edit: Edit) -> list[tuple[Any, str, Any]]:
    module_name, _, path = edit.place.partition(":")
    module: Any = importlib.import_module(module_name)
    class_name, _, name = path.rpartition(".")
    owner = getattr(module, class_name) if class_name else module
    original = inspect.getattr_static(owner, name)
    function = original.fget if isinstance(original, property) else original
    source = textwrap.dedent(inspect.getsource(function))
    old = textwrap.dedent(edit.old) if class_name and edit.old.startswith(" ") else edit.old
    if source.count(edit.old) != 1 and class_name:
        source = textwrap.indent(source, "    ")
    if source.count(edit.old) != 1:
        raise AssertionError(f"{edit.place}: {old!r} stands there {source.count(edit.old)} times")
    made: dict[str, Any] = {}
    exec(compile(textwrap.dedent(source.replace(edit.old, edit.new)), edit.place, "exec"), module.__dict__, made)  # noqa: S102
    changed = made[name]
    undo = [(owner, name, original)]
    setattr(owner, name, changed)
    if owner is module:  # others have imported it by name
        for other in [*sys.modules.values()]:
            if other is not module and getattr(other, "__dict__", {}).get(name) is original:
                undo.append((other, name, original))
                setattr(other, name, changed)
    return undo
