"""The parts of the trickle, and how one that ends is started again."""

import itertools
import random
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from configuration.asterisk.fetch import Installation
from configuration.settings import TrickleSettings
from simulator.sipp import scenarios
from simulator.sipp.traffic import Part, Player, parts


class Pretended(Installation):
    """A SIPp that does what a line of Python says."""

    def command(self, name: str) -> list[str]:
        """A program that ends at once."""
        assert name == "sipp"
        return [sys.executable, "-c", "import sys; sys.exit('no such luck')"]


@pytest.fixture
def settings(tmp_path: Path) -> TrickleSettings:
    return TrickleSettings(directory=tmp_path, cache=tmp_path)


def test_every_customer_and_vendor_of_the_seeded_world_has_its_part(settings: TrickleSettings) -> None:
    made = list(parts(settings, random.Random(1)))
    assert [part.host for part in made if not part.share] == [f"127.0.0.{n}" for n in (21, 22, 23, 25, 26)]
    assert {part.host for part in made if part.share} == {f"127.0.0.{n}" for n in (10, 11, 12, 99)}
    assert sum(part.share for part in made) == pytest.approx(1)
    assert len({(part.host, part.port) for part in made}) == len(made)


def test_all_hunts_of_the_seeded_world_are_dialled(settings: TrickleSettings) -> None:
    numbers = [number for part in parts(settings, random.Random(1)) for number in part.numbers]
    for code in ("99921", "99922", "99923", "99924", "99925", "99926", "99927", "99929", "9993"):
        assert any(number.startswith(code) for number in numbers), code
    assert any("%40" in number for number in numbers)
    assert not any(";" in number or "\n" in number for number in numbers)  # SIPp's own separators


@pytest.mark.parametrize(
    "text",
    [
        scenarios.vendor_answers(),
        scenarios.vendor_refuses(503, "Service Unavailable", 34),
        scenarios.vendor_refuses_as_told((404, 503)),
        scenarios.vendor_rings(),
        scenarios.caller_talks("1", 100),
        scenarios.caller_listens("1"),
        scenarios.caller_refused("1", 503),
        scenarios.caller_gives_up("1", 100),
        scenarios.callers_of_all_kinds(1, 2),
        scenarios.callers_who_listen(),
        scenarios.callers_who_give_up(1),
    ],
)
def test_a_scenario_is_xml_whose_jumps_have_labels(text: str) -> None:
    root = ElementTree.fromstring(text)  # noqa: S314 - our own text
    labels = {element.get("id") for element in root.iter("label")}
    jumps = {element.get("next") for element in root.iter() if element.get("next")}
    assert jumps <= labels
    for send in root.iter("send"):
        assert send.text is not None
        assert "{" not in send.text


def test_a_sipp_that_ends_is_started_again_ever_more_slowly(settings: TrickleSettings, tmp_path: Path) -> None:
    player = Player(Part("vendor-1", scenarios.vendor_rings(), "127.0.0.21", 5060), settings, Pretended(tmp_path))
    now, starts = 1_000.0, []
    for _ in range(12):
        assert player.keep(now)
        starts.append(now)
        assert player.process is not None
        player.process.wait(20)
        assert not player.keep(now)  # it has ended, and its pause has begun
        now = player._next_at
    pauses = [after - before for before, after in itertools.pairwise(starts)]
    assert pauses == [2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30]
    assert player._said() == "no such luck"


def test_one_that_has_played_long_starts_again_at_once(settings: TrickleSettings, tmp_path: Path) -> None:
    player = Player(Part("vendor-1", scenarios.vendor_rings(), "127.0.0.21", 5060), settings, Pretended(tmp_path))
    began = time.monotonic()
    player.keep(began)
    assert player.process is not None
    player.process.wait(20)
    assert not player.keep(began + 61)
    assert player._next_at == began + 62
