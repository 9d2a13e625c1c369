"""`streamco check-routing`: what the router would do with a call. `why`: what it did. `api-token`: the key to REST."""

import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
import msgspec

from streamco.secret_store import with_secrets
from streamco.settings import read_settings

if TYPE_CHECKING:
    from router.check import Checked, Question

_QUALITY_SECONDS: Final = 5.0


@click.command("check-routing")
@click.option("--from", "peer", required=True, help="The originator's name, as in the configuration.")
@click.option("--callee", required=True, help="The number as the originator dials it; its tech prefix may be left out.")
@click.option("--caller", default="", help="The caller's number.")
@click.option("--at", default="", help="A date or time, UTC unless it says otherwise. Without it: now.")
@click.option(
    "--node", default="", help="The node that asks: limits that are full there, and vendors silent there, count."
)
@click.option("--routing-number", default="", help="As if a look-up had found this routing number; none is asked.")
@click.option("--caller-name", default="", help="The caller's display name, of From.")
@click.option("--asserted", default="", help="The header P-Asserted-Identity; believed of a trusted originator.")
@click.option("--privacy", default="", help="The header Privacy.")
@click.option("--codecs", default="", help="What the INVITE offers, as g729,alaw. Without it: no vendor is left out.")
@click.option(
    "--seed", default="0", help="What decides all that is left to chance: 0 to 4294967295; of a call, --call."
)
@click.option("--call", default="", help="A call's id: its seed instead.")
@click.option("--look-up", is_flag=True, help="Really ask the look-up that the call would ask: it may cost money.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def check_routing(as_json: bool, **asked: Any) -> None:
    """Ask the router's own core where a call would go, and why. Makes no call, counts and holds nothing."""
    from router.check import Question, QuestionError, SnapshotAwayError, read_moment, read_seed
    from router.core import seed_of
    from schemas.ids import IdError, check_call_id
    from streamco.routing_view import checked_lines

    at, call, seed = asked.pop("at"), asked.pop("call"), asked.pop("seed")
    try:
        asked["seed"] = seed_of(check_call_id(call)) if call else read_seed(seed)
        checked = _checked(Question(at_ms=read_moment(at), **asked))
    except (QuestionError, SnapshotAwayError, IdError) as error:
        _fail(str(error))
    if as_json:
        click.echo(msgspec.json.encode(checked))
    else:
        click.echo("\n".join(checked_lines(checked)))


def _checked(question: "Question") -> "Checked":
    """The answer, from this machine's own snapshots. Raises QuestionError, SnapshotAwayError."""
    from router.check import LookUps, MomentSnapshots, Sources, ask, connect_to_read, read_quality
    from streamco import rooms

    told = with_secrets(read_settings())
    settings = rooms.check(told, "cli")
    look_ups = LookUps(settings.lookup_tokens)
    sources = Sources(
        MomentSnapshots(settings),
        look_ups,
        lambda: connect_to_read(settings.live.postgres),
        lambda: read_quality(rooms.kafka(told, "cli"), _QUALITY_SECONDS),
        settings.live.expected_call_seconds,
    )
    try:
        return ask(sources, question, time.time_ns() // 1_000_000)
    finally:
        look_ups.close()


@click.command()
@click.argument("call_id")
@click.option("--json", "as_json", is_flag=True, help="The whole decision as JSON, on one line.")
def why(call_id: str, as_json: bool) -> None:
    """Show the stored decision on a call: every candidate, taken or why not, and the configuration it was made with.

    CALL_ID is the call's, or the SIP Call-ID of one of its legs.
    """
    from dashboards.kit.queries import Queries, SourceAwayError
    from schemas.events import CallRouted, EventError, decode_event, encode_event, explained
    from schemas.ids import CALL_ID_PATTERN
    from streamco import rooms
    from streamco.routing_view import why_lines

    settings = with_secrets(read_settings())
    try:
        queries = Queries(rooms.clickhouse(settings, "why"))
        if CALL_ID_PATTERN.fullmatch(call_id) is None:
            found = queries.calls_by_sip_call_id(call_id)
            if len(found) != 1:
                several = f"legs of {len(found)} calls have it: {', '.join(found)}"
                _fail(f"call_id {call_id[:128]!r}: {several if found else 'neither a call has it, nor a leg'}")
            call_id = found[0]
        text = queries.call_decision(call_id)
        event = decode_event(text.encode()) if text is not None else None
        decision = explained(event) if isinstance(event, CallRouted) else None
    except (SourceAwayError, EventError) as error:
        _fail(str(error))
    if decision is None:
        _fail(f"call_id {call_id!r}: no decision is stored; it comes a moment after the call, and not without a router")
    click.echo(encode_event(decision) if as_json else "\n".join(why_lines(decision)))


@click.command("api-token")
@click.argument("login")
@click.argument("name")
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 366), help="It ends after so many days.")
@click.option("--end", is_flag=True, help="End the token of that name instead.")
def api_token(login: str, name: str, days: int, end: bool) -> None:
    """Give a user of the dashboards a token of the REST API, called NAME and shown once; it acts as the user.

    A user has one token of a name at a time; `streamco user list` shows them.
    """
    from datetime import UTC, datetime

    import psycopg

    from dashboards.access.api_tokens import end_token, make_token
    from dashboards.access.logins import normal_login
    from dashboards.access.users import UserError
    from runtime.user_acts import write_act
    from streamco import rooms
    from streamco.person import person

    dsn = rooms.postgres(with_secrets(read_settings()), "cli").dsn.get_secret_value()
    login = normal_login(login) or login
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            if end:
                end_token(connection, login, name)
                write_act(connection, person(), "users", "end token", login, name)
                click.echo(f"{name} of {login} has ended")
            else:
                token = make_token(connection, login, name, datetime.now(UTC), days)
                write_act(connection, person(), "users", "token", login, f"{name}, for {days} days")
                click.echo(f"token: {token}  (of {login}, for {days} days, shown once)")
    except (UserError, psycopg.Error) as error:
        _fail(str(error).strip())


def _fail(text: str) -> NoReturn:
    for line in text.splitlines() or [""]:
        click.echo(click.style("error: ", fg="red") + line, err=True)
    sys.exit(1)
