"""`streamco check-routing`: what the router would do with a call. `streamco why`: what it did with one."""

import sys
import time
from typing import NoReturn

import click
import msgspec

from streamco.secret_store import with_secrets
from streamco.settings import read_settings


@click.command("check-routing")
@click.option("--from", "peer", required=True, help="The originator's name, as in the configuration.")
@click.option("--callee", required=True, help="The number as the originator dials it; its tech prefix may be left out.")
@click.option("--caller", default="", help="The caller's number.")
@click.option("--at", default="", help="A date or time, UTC unless it says otherwise. Without it: now.")
@click.option("--node", default="", help="The node that asks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def check_routing(peer: str, callee: str, caller: str, at: str, node: str, as_json: bool) -> None:
    """Ask the router's own core where a call would go, and why. Makes no call, counts and holds nothing."""
    from router.check import MomentSnapshots, Question, QuestionError, SnapshotAwayError, check, read_moment
    from router.routing import World
    from streamco import rooms
    from streamco.routing_view import checked_lines

    settings = rooms.check(with_secrets(read_settings()))
    now_ms = time.time_ns() // 1_000_000
    try:
        question = Question(peer, callee, caller, read_moment(at), node)
        found = MomentSnapshots(settings).at(question.at_ms, now_ms)
        checked = check(
            World(found.snapshot),
            question,
            now_ms if question.at_ms is None else question.at_ms,
            expected_seconds=settings.live.expected_call_seconds,
            source=found.source,
        )
    except (QuestionError, SnapshotAwayError) as error:
        _fail(str(error))
    if as_json:
        click.echo(msgspec.json.encode(checked))
    else:
        click.echo("\n".join(checked_lines(checked)))


@click.command()
@click.argument("call_id")
@click.option("--json", "as_json", is_flag=True, help="The decision as it is stored, on one line.")
def why(call_id: str, as_json: bool) -> None:
    """Show the stored decision on a call: every candidate, taken or why not, and the configuration it was made with."""
    from dashboards.queries import Queries, SourceAwayError
    from schemas.events import CallRouted, EventError, decode_event
    from schemas.ids import IdError, check_call_id
    from streamco import rooms
    from streamco.routing_view import why_lines

    settings = with_secrets(read_settings())
    try:
        text = Queries(rooms.clickhouse(settings)).call_decision(check_call_id(call_id))
        decision = decode_event(text.encode()) if text is not None else None
    except (IdError, SourceAwayError, EventError) as error:
        _fail(str(error))
    if not isinstance(decision, CallRouted):
        _fail(f"call_id {call_id!r}: no decision is stored; it comes a moment after the call, and not without a router")
    click.echo(text if as_json else "\n".join(why_lines(decision)))


def _fail(text: str) -> NoReturn:
    for line in text.splitlines() or [""]:
        click.echo(click.style("error: ", fg="red") + line, err=True)
    sys.exit(1)
