"""Controllers in a world file: loaded by name, twice as good as once, and refused by field, value and rule."""

from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from configuration.entities.controls import OriginationControl, TerminationControl
from configuration.load import load
from runtime.changing import WorldError

pytestmark = pytest.mark.servers
CONTROLS = """
termination_controls:
  - {name: Bad ASR, metric: asr, threshold: 20, checks: 2, check_seconds: 30, release_minutes: 30, peer: vendor-a}
  - {name: Bad codes, scope: code, code_prefix: 880, metric: pdd, threshold: 7.5, action: demote}
origination_controls:
  - {name: Surge, measure: cps, threshold: 50, window_seconds: 60, action: cap, cap_concurrent: 100}
  - name: Nights
    peer: acme
    measure: spend
    threshold: 5000.123456
    timetable: "daily 22:00-06:00"
    time_zone: Europe/Berlin
    timetable_threshold: 200
"""


def change(dsn: str, directory: Path, text: str) -> int:
    path = directory / "controls.yaml"
    path.write_text(text, encoding="utf-8")
    return load(dsn, path).changed


def test_controls_are_there_and_a_second_load_changes_nothing(world_dsn: str, tmp_path: Path) -> None:
    assert change(world_dsn, tmp_path, CONTROLS) == 4
    assert change(world_dsn, tmp_path, CONTROLS) == 0
    assert change(world_dsn, tmp_path, CONTROLS.replace("threshold: 20,", "threshold: 25,")) == 1
    with psycopg.connect(world_dsn) as connection:
        termination = connection.execute(
            "SELECT c.name, p.name, scope, code_prefix, metric, threshold, checks, check_seconds,"
            " action, release_minutes"
            " FROM termination_controls c LEFT JOIN peers p USING (peer_id) ORDER BY 1"
        ).fetchall()
        origination = connection.execute(
            "SELECT c.name, p.name, measure, threshold, timetable, time_zone, timetable_threshold, cap_concurrent"
            " FROM origination_controls c LEFT JOIN peers p USING (peer_id) ORDER BY 1"
        ).fetchall()
    assert termination == [
        ("Bad ASR", "vendor-a", "vendor", "", "asr", Decimal(25), 2, 30, "block", 30),
        ("Bad codes", None, "code", "880", "pdd", Decimal("7.5"), 3, 60, "demote", None),
    ]
    assert origination == [
        ("Nights", "acme", "spend", Decimal("5000.123456"), "daily 22:00-06:00", "Europe/Berlin", 200, None),
        ("Surge", None, "cps", Decimal(50), "", "UTC", None, 100),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("peer: vendor-a", "peer: nobody", r"termination_controls\[0\].peer 'nobody': there is no such peer"),
        ("peer: vendor-a", "peer: acme", "must be a peer that is terminator"),
        ("peer: acme", "peer: vendor-a", "must be a peer that is originator"),
        ("name: Bad codes", "name: Bad ASR", "termination_controls: 'Bad ASR' is there twice"),
        ("threshold: 20,", "threshold: 101,", "asr is percent, 100 at most"),
        ("scope: code, ", "", "only of scope code"),
        ("check_seconds: 30", "check_seconds: 35", "multiple of 10"),
        ("checks: 2, check_seconds: 30", "checks: 100, check_seconds: 3600", "7200 s at most"),
        (", cap_concurrent: 100", "", "goes with action cap"),
        ("timetable_threshold: 200", "threshold: 200", "threshold"),
        ("daily 22:00-06:00", "nightly", "must be days and hours"),
        ("Europe/Berlin", "Atlantis", "time zone"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_changed(
    world_dsn: str, tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in CONTROLS
    with pytest.raises(WorldError, match=said):
        change(world_dsn, tmp_path, CONTROLS.replace(old, new, 1))
    with psycopg.connect(world_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM termination_controls").fetchone() == (0,)


def test_every_field_of_the_models_is_a_column(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        for table, model in (
            ("termination_controls", TerminationControl),
            ("origination_controls", OriginationControl),
        ):
            columns = {
                name
                for (name,) in connection.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,)
                )
            }
            fields = {*model.model_fields, "peer_id", f"{table.removesuffix('s')}_id"} - {"peer"}
            assert columns == fields
