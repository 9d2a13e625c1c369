"""Streamco refuses to start where another distribution has a package of one of its names."""

import sys
from pathlib import Path

import pytest

from streamco import own_packages
from streamco.embedded.server import ServerError
from streamco.own_packages import PACKAGES, found_elsewhere, owned_by_others, require_own_packages

ROOT = Path(own_packages.__file__).resolve().parents[1]


def test_here_all_is_ours() -> None:
    require_own_packages()


def test_the_list_is_whole() -> None:
    here = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"bench", "tests", "stubs"}
    assert here == set(PACKAGES)


def test_a_distribution_that_has_one_too_is_named() -> None:
    assert owned_by_others({"agent": ["streamco"], "click": ["click"]}) == []
    assert owned_by_others({"agent": ["streamco", "agentx", "agentx"], "billing": ["bills"]}) == [
        "package billing: must be of streamco alone; bills has one of that name",
        "package agent: must be of streamco alone; agentx has one of that name",
    ]


@pytest.mark.parametrize("name", ["agent/__init__.py", "agent.py"])
def test_one_that_stands_before_ours_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    other = tmp_path / name
    other.parent.mkdir(exist_ok=True)
    other.write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in [one for one in sys.modules if one == "agent" or one.startswith("agent.")]:
        monkeypatch.delitem(sys.modules, module)
    (fault,) = found_elsewhere(ROOT)
    assert fault.startswith(f"package agent: must be {ROOT / 'agent'}; Python finds it at {tmp_path / 'agent'}")
    with pytest.raises(ServerError, match="an environment of its own"):
        require_own_packages()
