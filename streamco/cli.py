"""The command `streamco`. An error that a user can mend is a line or a few on stderr and exit code 1, no traceback.

Imported at the top is what every command needs, and nothing else: `streamco status` must answer at once.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from streamco.command_table import LAZY
from streamco.lazy_group import LazyGroup

if TYPE_CHECKING:
    from streamco.settings import Settings
    from streamco.stack import FirstLogin

_MARKS: Final = {"healthy": "green", "degraded": "yellow", "external": "green", "failed": "red", "stopped": "white"}


def main() -> None:
    """The entry point."""
    try:
        commands(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UnicodeError:  # nothing keeps it, and no terminal shows it; nor do we: it may be a secret
        _fail("an argument, a setting or a line of input: must be UTF-8")
    except _of_users() as error:  # evaluated only when there is an error
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _of_users() -> tuple[type[Exception], ...]:
    """The errors whose text is for the user."""
    from streamco.embedded.server import ServerError
    from streamco.settings import SettingsError

    return SettingsError, ServerError


def _fail(text: str, code: int = 1) -> NoReturn:
    for line in text.splitlines() or [""]:
        click.echo(click.style("error: ", fg="red") + line, err=True)
    sys.exit(code)


def _greet(login: "FirstLogin") -> None:
    click.echo(f"first login: {login.login}  password: {login.password}  (shown once)")


def _greet_in_a_log(login: "FirstLogin") -> None:
    click.echo(f"first login: {login.login}; `streamco password {login.login}` gives it a password")


def _settings(kind: str | None = None) -> "Settings":
    from streamco.secret_store import with_secrets

    return with_secrets(_plain_settings(), kind)


def _plain_settings() -> "Settings":
    """Without secrets: nothing is made for a command that only looks."""
    from streamco.settings import read_settings

    return read_settings()


def teller() -> Callable[[str], None]:
    """Prints progress with the seconds since now."""
    begun = time.monotonic()
    return lambda text: click.echo(f"[{time.monotonic() - begun:5.1f} s] {text}")


@click.group(cls=LazyGroup, lazy=LAZY)
@click.version_option(package_name="streamco")
def commands() -> None:
    """Streamco: switching, billing and analysis for wholesale VoIP, on one machine.

    Everything is under STREAMCO_HOME; every setting is an environment variable (docs/operations.md).
    """


@commands.command()
@click.option("--stay", is_flag=True, help="Do not return; at SIGTERM everything is stopped (for systemd).")
def up(stay: bool) -> None:
    """Start everything, and return when all of it is healthy."""
    from streamco import control
    from streamco.status import faults, read_status

    settings = _settings()
    tell = teller()
    if stay:
        control.end_by_sigterm()
    control.up(settings, tell, _greet_in_a_log if stay else _greet)
    wrong = faults(read_status(settings))
    tell("everything is healthy" if not wrong else "everything runs, and this is wrong (`streamco status` shows it):")
    for line in wrong:
        click.echo(click.style(f"  {line}", fg="yellow"))
    click.echo(f"dashboards: http://{settings.dashboards_host}:{settings.dashboards_port}/")
    if stay:
        control.stay(settings, tell)


@commands.command()
def down() -> None:
    """Stop everything that `up` started, in order, and nothing else."""
    from streamco import control

    if not control.down(_plain_settings(), teller()):
        click.echo("nothing was running")


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def status(as_json: bool) -> None:
    """Show every component. Exit code 0 only when all are healthy."""
    from streamco.status import read_status

    document = read_status(_plain_settings())
    lines: list[str] = []
    if document["components"]:
        from msgspec import to_builtins

        from streamco.reach_cli import status_lines

        vendors, lines = status_lines(_plain_settings())
        document |= {"vendors": to_builtins(vendors)}
    if as_json:
        click.echo(json.dumps(document))
    else:
        _print_status(document)
        click.echo("\n".join(lines), nl=bool(lines))
    sys.exit(0 if document["ok"] else 1)


def _print_status(document: dict[str, Any]) -> None:
    if not document["components"]:
        click.echo("nothing runs here: `streamco up` starts it")
    if document.get("alarm"):
        click.echo(click.style(document["alarm"], fg="red"))
    for one in document["components"]:
        state = click.style(f"{one['state']:<11}", fg=_MARKS.get(one["state"], "yellow"))
        restarts = f"  {one['restarts']} restarts" if one["restarts"] else ""
        detail = f"  {one['detail']}" if one["detail"] else ""
        click.echo(f"{one['name']:<18} {state} {one['pid'] or '-':>8}  {one['address'] or '-':<22}{restarts}{detail}")


@commands.command()
@click.argument("component", required=False)
@click.option("-n", "lines", default=50, show_default=True, type=click.IntRange(0, 100_000), help="Last lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
def logs(component: str | None, lines: int, follow: bool) -> None:
    """Print the log of a COMPONENT (a name that `status` shows, or supervisor); without one, all of them."""
    from streamco.log_view import show_logs
    from streamco.places import Places

    directory = Places(_plain_settings()).logs
    names = sorted(path.stem for path in directory.glob("*.log"))
    if component is not None and component not in names:
        raise click.BadParameter(f"{component!r}: must be one of {', '.join(names) or '(there is no log yet)'}")
    paths = [directory / f"{name}.log" for name in ([component] if component is not None else names)]
    show_logs(paths, lines, follow=follow)


@commands.command()
def migrate() -> None:
    """Bring roles and tables of PostgreSQL, tables of ClickHouse, and Kafka's topics to this version."""
    from streamco.stack import prepare_stores

    settings = _settings("migrate")
    tell = teller()
    first_login = prepare_stores(settings, tell)
    if first_login is not None:
        _greet(first_login)
    tell("all tables and topics are as this version needs them")


def _dsn() -> str:
    from streamco import rooms

    return rooms.postgres(_settings(), "cli").dsn.get_secret_value()


@commands.command()
@click.option("--size", type=click.Choice(["small", "medium"]), default="small", show_default=True)
@click.option("--seed", "number", default=1, show_default=True, type=click.IntRange(0, 2**53 - 1), help="Which world.")
def seed(size: str, number: int) -> None:
    """Fill an empty configuration with a world that looks real."""
    from runtime.changing import WorldError
    from simulator.market.seed import seed as make
    from streamco.person import person

    try:
        result = make(_dsn(), size, number, teller(), by=person())
    except WorldError as error:
        _fail(str(error))
    click.echo(
        f"{result.companies} companies, {result.peers} peers, {result.decks} decks, {result.prices:,} prices, "
        f"{result.destinations:,} destinations"
    )


@commands.command()
@click.argument("world", type=click.Path(path_type=Path))
def load(world: Path) -> None:
    """Load companies, peers, packs and route classes from WORLD.yaml. Twice is as good as once.

    What may be a mistake is loaded, and is a warning on stderr.
    """
    from configuration.load import load as read
    from runtime.changing import WorldError
    from streamco.person import person

    try:
        result = read(_dsn(), world, by=person())
    except WorldError as error:
        _fail(str(error))
    for warning in result.warnings:
        click.echo(click.style("warning: ", fg="yellow") + warning, err=True)
    click.echo(f"{result.companies} companies, {result.peers} peers in the file; {result.changed} rows changed")


@commands.command("load-deck")
@click.argument("peer")
@click.argument("file", type=click.Path(path_type=Path))
def load_deck(peer: str, file: Path) -> None:
    """Load the prices of a PEER's deck from a CSV FILE, all or nothing."""
    from billing.prices.load import load_deck as read
    from runtime.changing import WorldError
    from streamco.person import person

    try:
        result = read(_dsn(), peer, file, by=person())
    except WorldError as error:
        _fail(str(error))
    click.echo(
        f"{result.deck}: {result.rows:,} rows in the file, {result.inserted:,} inserted, {result.removed:,} removed"
    )


@commands.command()
@click.argument("account")
@click.argument("amount")
@click.option("--reason", required=True, help="What people will read beside the payment.")
@click.option("--reference", default="", help="The payment's own name: a second one with the same is refused.")
def pay(account: str, amount: str, reason: str, reference: str) -> None:
    """Post a payment of AMOUNT (a decimal; negative is a refund: put -- before it) to an ACCOUNT."""
    from billing.payments import pay as post
    from runtime.changing import WorldError
    from streamco.person import person

    try:
        result = post(_dsn(), account, amount, reason, reference, by=person())
    except WorldError as error:
        _fail(str(error))
    click.echo(f"{result.reference}: {result.amount} {result.currency} to {result.account}, balance {result.balance}")


@commands.command("asterisk-config")
@click.argument("node")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where it reads them.")
def asterisk_config(node: str, output: Path) -> None:
    """Write the files of a NODE for an Asterisk of your own, with a new epoch: run it before each start."""
    from streamco.own_asterisk import write_files
    from streamco.person import person

    for line in write_files(_settings(), node, output, person()):
        click.echo(line)


@commands.command()
@click.option("--cps", type=click.FloatRange(0.01, 5_000), help="New calls a second.")
@click.option("--seconds", type=click.FloatRange(1), required=True, help="So many seconds of traffic.")
@click.option("--seed", "number", type=click.IntRange(0, 2**53 - 1), help="Which traffic.")
@click.option("--speedup", default=1.0, show_default=True, type=click.FloatRange(1, 100_000), help="To fill the past.")
@click.option("--incident", "incidents", multiple=True, help="Such as vendor-down@30s; several are allowed.")
def simulate(cps: float | None, seconds: float, number: int | None, speedup: float, incidents: tuple[str, ...]) -> None:
    """Make traffic on the simulated nodes of a stack that is up (STREAMCO_SIMULATED_NODES)."""
    from streamco.demo import run_simulator

    settings = _settings()
    given = {"cps": cps, "seed": number, "incidents": incidents or None}
    run_simulator(settings, seconds=seconds, speedup=speedup, **{k: v for k, v in given.items() if v is not None})


@commands.command()
@click.option(
    "--seconds", type=click.FloatRange(1, 86_400), help="Audit after so many seconds of traffic, or at Ctrl-C."
)
@click.option("--size", type=click.Choice(["small", "medium"]), default="small", show_default=True)
def demo(seconds: float | None, size: str) -> None:
    """Everything with a seeded world and traffic, until Ctrl-C."""
    from streamco.demo import run_demo

    sys.exit(run_demo(seconds=seconds, size=size, tell=teller()))


if __name__ == "__main__":
    main()
