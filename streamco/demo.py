"""`streamco demo`: the whole product with a seeded world and traffic on simulated nodes, and a trickle of real calls.

It is its own supervisor, in the same STREAMCO_HOME as any `up`: `streamco status` works beside it, and `streamco down`
ends it.
"""

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from streamco import rooms
from streamco.embedded.server import Progress, ServerError
from streamco.embedded.settings import user_cache_directory
from streamco.health import beat_detail
from streamco.home import close_new_files
from streamco.logs import configure_logs
from streamco.own_packages import require_own_packages
from streamco.places import Places
from streamco.secret_store import with_secrets
from streamco.settings import PREFIX, Settings, SettingsError, read_settings
from streamco.stack import FirstLogin, Stack

SETTLE_SECONDS: Final = 60.0
REPORT_SECONDS: Final = 10.0
_SIMULATED: Final = ("sim1", "sim2")
_ASTERISK: Final = "ast1"
_TRICKLE_CPS: Final = 1.5


def demo_settings(why_no_asterisk: str | None) -> Settings:
    """The settings of the demo: the user's own, with the demo's nodes unless he has set his. Raises SettingsError."""
    if f"{PREFIX}NODES" in os.environ:
        return with_secrets(read_settings())
    real: tuple[str, ...] = () if why_no_asterisk is not None else (_ASTERISK,)
    return with_secrets(
        read_settings(
            nodes=(*_SIMULATED, *real),
            simulated_nodes=_SIMULATED,
            asterisk_nodes=real,
            expected_call_seconds=int(read_settings().simulator_talk_seconds),
            trickle_cps=_TRICKLE_CPS if real else 0.0,
        )
    )


def run_demo(*, seconds: float | None, size: str, tell: Progress) -> int:
    """Run until Ctrl-C, or for `seconds` of traffic and then audit. The exit code: the audit's, or 0.

    With `seconds` Ctrl-C only ends the traffic, and the audit follows; the next one ends that, too.
    Raises ServerError and SettingsError when it cannot start.
    """
    require_own_packages()
    why_no_asterisk = _fetch(tell)
    if why_no_asterisk is not None:
        tell(f"no real Asterisk here: {why_no_asterisk}")
    settings = demo_settings(why_no_asterisk)
    close_new_files()
    places = Places(settings)
    places.make()
    configure_logs("supervisor", path=places.log("supervisor"))
    stop = threading.Event()
    heard: set[int] = set()

    def end(number: int, _frame: object) -> None:
        heard.add(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    stack = Stack(settings, tell)
    made: list[FirstLogin] = []
    try:
        stack.start(
            interrupted=stop.is_set,
            greet=made.append,
            fill=lambda progress: _seed(settings, size, progress),
            simulate=True,
        )
    except ServerError:
        for login in made:
            tell(f"first login: {login.login}, password {login.password} (shown once)")
        if stop.is_set():
            tell("stopped before everything was up")
            return 130
        raise
    _introduce(settings, made[0] if made else None, seconds)
    _wait(settings, stop, seconds, tell)
    if seconds is None or signal.SIGTERM in heard:
        tell("stopping")
        stack.supervisor.close()
        tell("everything has stopped")
        return 0
    return _settle(stack, settings, tell)


def _fetch(tell: Progress) -> str | None:
    """Everything that is fetched once, side by side: Asterisk with SIPp, Kafka's jars. Why there is no Asterisk.

    Kafka's own failure is told when Kafka is prepared: it is needed, Asterisk is not.
    """
    from configuration.asterisk.fetch import FetchError, installation, why_not
    from streamco.embedded.kafka import fetch_jars

    cache = user_cache_directory()
    with ThreadPoolExecutor(2) as pool:
        jars = pool.submit(fetch_jars, cache / "kafka", tell) if not read_settings().kafka_bootstrap else None
        try:
            if (reason := why_not()) is None:
                installation(cache, tell)
        except FetchError as error:
            reason = str(error)
        if jars is not None:
            jars.exception()
    return reason


def _seed(settings: Settings, size: str, progress: Progress) -> None:
    from runtime.changing import WorldError
    from simulator.market.seed import seed
    from streamco.person import person

    try:
        seed(
            rooms.postgres(settings, "cli").dsn.get_secret_value(), size, settings.simulator_seed, progress, by=person()
        )
    except WorldError as error:
        raise ServerError(f"the demo's world: {error}") from error


def _introduce(settings: Settings, first_login: FirstLogin | None, seconds: float | None) -> None:
    lines = ["", f"  dashboards   http://{settings.dashboards_host}:{settings.dashboards_port}/"]
    if first_login is not None:
        lines.append(f"  first login  {first_login.login}   password  {first_login.password}   (shown once)")
    else:
        lines.append("  first login  as shown at the first start of this STREAMCO_HOME")
    lines.append(f"  home         {settings.home}   (`.venv/bin/streamco status` shows every component)")
    ends = (
        "Ctrl-C stops it" if seconds is None else f"stops after {seconds:g} s of traffic, or at Ctrl-C, with an audit"
    )
    lines.append(f"  {ends}")
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()


def _wait(settings: Settings, stop: threading.Event, seconds: float | None, tell: Progress) -> None:
    """Until it is time to end, with a line now and then."""
    end = time.monotonic() + seconds if seconds is not None else None
    beat = Places(settings).beat("simulator")
    while not stop.is_set() and (end is None or time.monotonic() < end):
        left = REPORT_SECONDS if end is None else min(REPORT_SECONDS, end - time.monotonic())
        stop.wait(max(0.0, left))
        if detail := beat_detail(beat):
            tell(f"traffic: {detail}")


def _settle(stack: Stack, settings: Settings, tell: Progress) -> int:
    """End the traffic, wait until every leg has gone its way, compare the stores, end the rest."""
    from sinks.audit.full.audit import audit, report_json
    from streamco.audit_view import print_report

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    tell("no new calls; those in progress are hung up")
    names = [status.name for status in stack.supervisor.statuses()]
    stack.supervisor.stop([name for name in names if name in ("trickle", "simulator")])
    stack.supervisor.stop([name for name in names if name.startswith("asterisk-")])
    tell(f"audit: waiting up to {SETTLE_SECONDS:.0f} s for what is in flight")
    try:
        report = audit(rooms.audit(settings), SETTLE_SECONDS, tell)
    finally:
        stack.supervisor.close()
    print_report(report)
    sys.stdout.write(report_json(report) + "\n")
    sys.stdout.flush()
    return 0 if report.ok else 1


def run_simulator(settings: Settings, **options: object) -> None:
    """Play the simulated nodes in this process, for as long as the options say. Raises SettingsError."""
    from pydantic import ValidationError

    from simulator.main import run

    close_new_files()
    configure_logs("simulate", for_people=sys.stderr.isatty())
    if not settings.simulated_nodes:
        raise SettingsError(f"{PREFIX}SIMULATED_NODES: must name the nodes to play, such as sim1,sim2")
    try:
        chosen = rooms.simulator(settings, beat=None, **options)
    except ValidationError as error:
        raise SettingsError("\n".join(f"{one['loc']}: {one['msg']}" for one in error.errors())) from error
    run(chosen)
