"""A room's test stands at the path that mirrors its module: whoever changes the one finds the other.

    router/core/choose.py  →  tests/router/core/test_choose.py, and test_choose_WHAT.py for a part of it

A package counts as a module, a .sql file too. Tests of servers, faults, calls, pages and the whole stack have folders
of their own, by what they are about. What holds several modules of a room together is named here, with the reason.
"""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
ROOMS: Final = (
    "schemas", "tariffs", "runtime", "sinks", "router", "configuration", "billing", "agent", "streams", "simulator",
    "dashboards", "streamco",
)  # fmt: skip
TOGETHER: Final = {
    "runtime/test_libraries.py": "what we rely on of libraries, whoever uses them",
    "router/test_control_line.py": "the way of a control, from the stream to the routers",
}


def mirrored(test: Path) -> bool:
    """`test`: its path below tests/."""
    words = test.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    folder = ROOT / test.parent
    return any(
        (folder / f"{name}.py").exists()
        or (folder / f"{name}.sql").exists()
        or (folder / name / "__init__.py").exists()
        for name in names
    )


def room_tests() -> list[Path]:
    found = [path for room in ROOMS for path in (ROOT / "tests" / room).rglob("test_*.py")]
    return sorted(path.relative_to(ROOT / "tests") for path in found)


def test_a_test_stands_where_its_module_does() -> None:
    found = room_tests()
    assert len(found) > 200
    elsewhere = [str(path) for path in found if not mirrored(path) and str(path) not in TOGETHER]
    assert elsewhere == []


def test_what_is_named_as_an_exception_is_one() -> None:
    found = {str(path): mirrored(path) for path in room_tests()}
    assert {path: found.get(path) for path in TOGETHER} == dict.fromkeys(TOGETHER, False)


def test_the_rule_can_fail() -> None:
    assert mirrored(Path("router/core/test_choose_any_order.py"))
    assert not mirrored(Path("router/core/test_nothing_there.py"))
