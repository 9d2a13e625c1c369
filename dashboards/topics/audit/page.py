"""The audit: is everything billed once, and if not, which legs, and since when? With the runs that said so."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from dash import Input, Output, dcc, html

from dashboards.kit import formats
from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.kit.shared import State, Word, card, column, freshness, grid, state_line
from dashboards.topics.audit.store import AuditState, Difference, Journal, Run
from dashboards.topics.registry import Page
from dashboards.topics.sources import Sources
from schemas.ids import IdError, split_leg_id

REFRESH_MS: Final = 5_000
OLD: Final = timedelta(minutes=3)
_MEGA: Final = 1_000_000
_LINK: Final = "streamcoSubjectLink"


def layout() -> Any:
    """The page without its figures."""
    return html.Div(
        [
            dcc.Interval(id="audit-tick", interval=REFRESH_MS),
            html.Div(id="audit-state"),
            html.Div(id="audit-cards", className="cards six"),
            html.Div(id="audit-runs", className="runs"),
            _panel("Differences", "audit-open", _columns("Since", "since"), "Nothing differs.", "audit-open-panel"),
            html.Div(
                [
                    _panel("Journals", "audit-journals", _journal_columns(), "No agent has counted its journal yet."),
                    _panel(
                        "Mended in the last day", "audit-mended", _columns("Mended", "mended"), "Nothing was mended."
                    ),
                ],
                className="audit-below",
            ),
        ],
        className="audit",
    )


def _panel(title: str, identity: str, columns: Sequence[Any], empty: str, more: str = "") -> Any:
    return html.Section(
        [html.H2(title), html.Div(grid(identity, columns, empty=empty), className="panel-grid")],
        className=f"panel {more}".strip(),
    )


def _columns(title: str, field: str) -> list[Any]:
    return [
        column("kind", "What", width=260, flex=4, minWidth=180, tooltipField="kind"),
        column("subject", "Leg, account, journal", width=300, flex=4, minWidth=200, cellRenderer=_LINK),
        # Of texts that look like moments the grid would make dates, and leave out those without a day.
        column(field, title, width=150, cellDataType=False),
        column("age", "For", width=80, kind="number", **_format("age")),
        column("detail", "Detail", width=320, flex=5, minWidth=160, tooltipField="detail"),
    ]


def _journal_columns() -> list[Any]:
    numbers = [
        ("legs", "Legs", 98), ("posted_legs", "In ledger", 98), ("files", "Files", 62), ("sealed", "Sealed", 68),
        ("posted", "Posted", 68), ("deleted", "Deleted", 74),
    ]  # fmt: skip
    return [
        column("id", "Node", width=90, flex=1, minWidth=60),
        *(column(field, title, width=width, kind="number", **_format("count")) for field, title, width in numbers),
        column("megabytes", "MB", width=80, kind="number", **_format("one")),
        column("waiting", "To count", width=92, kind="number", cellClassRules={"amber": "params.data.late"}),
        column("looked", "Looked", width=94),
    ]


def _format(kind: str) -> dict[str, Any]:
    return {"valueFormatter": {"function": f"streamcoFormat.{kind}(params.value, params.data)"}}


def add_callbacks(app: PageCallbacks, sources: Sources) -> None:
    """The page's life."""

    @app.callback(
        Output("audit-state", "children"),
        Output("audit-cards", "children"),
        Output("audit-runs", "children"),
        Output("audit-open", "rowData"),
        Output("audit-journals", "rowData"),
        Output("audit-mended", "rowData"),
        Input("audit-tick", "n_intervals"),
    )
    def refresh(_: int | None) -> tuple[Any, ...]:
        state, now = sources.audits.state(), sources.clock()
        now_ms = sources.now_ms()
        live = freshness(sources.live.view(), now_ms)
        return (
            state_line([verdict(state, now)], live, now_ms, "journals, rated legs, CDRs and ledger, leg by leg"),
            cards(state, now),
            strip(state.runs),
            [difference_row(one, now) for one in state.open],
            [journal_row(one, now) for one in state.journals],
            [difference_row(one, now) for one in state.mended],
        )


def verdict(state: AuditState, now: datetime) -> Word:
    """What the audit says, in one sentence."""
    if state.away:
        return Word("red", state.away)
    if not state.runs:
        return Word("amber", "The audit has not run yet: start the component auditor.")
    newest = state.runs[0]
    if now - newest.at > OLD:
        return Word("red", f"No audit since {_clock(newest.at)}: what changed since then is not known to be equal")
    if newest.ok:
        return Word("normal", f"Equal: every leg is rated, billed and written once{_since(state.runs)}")
    since = min((one.since for one in state.open), default=newest.at)
    what = state.open[0].kind if state.open else "see the log of the component auditor"
    number = "1 difference" if newest.differences == 1 else f"{newest.differences:,} differences"
    return Word("red", f"{number} since {_moment(since, now)}: {what}")


def wall_word(state: AuditState, now: datetime) -> Word | None:
    """What the wall says of the audit: nothing while all is equal."""
    word = verdict(state, now)
    return None if word.state == "normal" else Word(word.state, f"Audit: {word.text}", "/audit")


def disk_words(state: AuditState) -> list[Word]:
    """Each node whose journal's disk is nearly full: its new calls are refused."""
    return [
        Word("red", f"{node}: disk nearly full since {_clock(since)}, new calls are refused")
        for node, since in state.low_disks
    ]


def _since(runs: Sequence[Run]) -> str:
    """Since when the runs in sight have all been equal."""
    last = runs[0].at
    for run in runs:
        if not run.ok:
            break
        last = run.at
    return f", in all runs since {_clock(last)}" if last != runs[0].at else ""


def cards(state: AuditState, now: datetime) -> list[Any]:
    """Six figures."""
    newest = state.runs[0] if state.runs else None
    in_journals = sum(one.legs for one in state.journals)
    in_ledger = sum(one.posted_legs for one in state.journals)
    wrong = newest.differences if newest else None
    late: State = "red" if newest is None or now - newest.at > OLD else "normal"
    compared = sum(run.compared for run in state.runs)
    return [
        card("Differences", formats.count(wrong), _oldest(state, now), state="red" if wrong else "normal"),
        card("Last run", _age(newest.at, now) if newest else formats.UNKNOWN, "ago", more=_took(newest), state=late),
        card("Legs compared", formats.count(compared), f"in the last {len(state.runs)} runs", more="four stores each"),
        card("On their way", formats.count(newest.waiting if newest else None), "seen on one side, not on all yet"),
        card("In the journals", formats.count(in_journals), "legs, deleted files too", more=_retained(state.journals)),
        card(
            "In the ledger", formats.count(in_ledger), "legs, estimates too",
            more=f"hours whole with CDRs: {state.hours_compared:,} of {state.hours:,}",
        ),
    ]  # fmt: skip


def _oldest(state: AuditState, now: datetime) -> str:
    if not state.open:
        return "nothing differs" if state.runs else "not known"
    return f"the oldest for {_age(min(one.since for one in state.open), now)}"


def _took(run: Run | None) -> str:
    return "" if run is None else f"took {run.seconds:.2f}{formats.THIN}s"


def _retained(journals: Sequence[Journal]) -> str:
    first = min((one.first_at for one in journals if one.first_at is not None), default=None)
    return "" if first is None else f"files from {first.astimezone():%Y-%m-%d %H:%M} on"


def strip(runs: Sequence[Run]) -> Any:
    """The last runs, the oldest at the left: a bar each, tall and marked where something differed."""
    bars = [
        html.Span(
            "" if run.ok else "■",
            className="run" if run.ok else "run red",
            title=f"{run.at.astimezone():%H:%M:%S}: {_said(run)}, {run.seconds:.2f} s",
        )
        for run in reversed(runs)
    ]
    if not bars:
        return html.Span("no run yet", className="more")
    first, last = runs[-1].at.astimezone(), runs[0].at.astimezone()
    bad = sum(not run.ok for run in runs)
    text = f"{len(runs)} runs, {bad} with differences" if bad else f"{len(runs)} runs, all equal"
    label: dict[str, Any] = {"aria-label": text}
    return [
        html.Span(f"{first:%H:%M}", className="more"),
        html.Div(bars, className="run-bars", role="img", **label),
        html.Span(f"{last:%H:%M}", className="more"),
        html.Span(text, className="more runs-text"),
    ]


def _said(run: Run) -> str:
    return "equal" if run.ok else f"{run.differences:,} differences"


def difference_row(one: Difference, now: datetime) -> dict[str, Any]:
    """A difference as the grid shows it; a leg leads to its call."""
    try:
        call_id = split_leg_id(one.subject)[0]
    except IdError:
        call_id = ""
    until = one.resolved_at or now
    return {
        "id": str(one.difference_id),
        "kind": one.kind,
        "subject": one.subject,
        "call": call_id,
        "since": _moment(one.since, now),
        "mended": _moment(until, now),
        "age": max(0.0, (until - one.since).total_seconds()),
        "detail": one.detail,
    }


def journal_row(one: Journal, now: datetime) -> dict[str, Any]:
    """A journal as the grid shows it."""
    return {
        "id": one.node,
        "legs": one.legs,
        "posted_legs": one.posted_legs,
        "files": one.files,
        "sealed": one.sealed,
        "posted": one.posted,
        "deleted": one.deleted,
        "megabytes": one.bytes / _MEGA,
        "waiting": f"{one.waiting_bytes / _MEGA:.1f}{formats.THIN}MB" if one.waiting_bytes else "0",
        "looked": formats.UNKNOWN if one.at is None else f"{_age(one.at, now)} ago",
        "late": one.at is None or now - one.at > OLD,
    }


def _age(moment: datetime, now: datetime) -> str:
    return formats.age((now - moment).total_seconds())


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"


def _moment(moment: datetime, now: datetime) -> str:
    there, here = moment.astimezone(), now.astimezone()
    return f"{there:%H:%M:%S}" if there.date() == here.date() else f"{there:%Y-%m-%d %H:%M:%S}"


PAGE: Final = Page(
    path="/audit",
    title="Audit",
    area="audit",
    layout=lambda *_: layout(),
    callbacks=add_callbacks,
    order=60,
)
