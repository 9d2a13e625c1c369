"""Ports for servers of tests: nobody gets one twice."""

import pytest
from ports import free_row

from streamco.embedded import temporary
from streamco.embedded.temporary import free_port


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small part of this worker's, of which nothing was given."""
    monkeypatch.setattr(temporary, "PORTS", temporary.PORTS[1_000:1_200])
    monkeypatch.setattr(temporary, "_given", set())


def test_no_port_is_given_twice_while_half_of_them_are_left() -> None:
    given = [free_port() for _ in range(101)]
    assert len(set(given)) == 101
    assert free_port() in temporary.PORTS  # then all may be given again


def test_a_row_is_nobody_elses() -> None:
    before = {free_port() for _ in range(20)}
    rows = [free_row(3) for _ in range(10)]
    ports = [port for first in rows for port in (first, first + 1, first + 2)]
    assert len({*ports, *before}) == 50
    assert set(ports) <= set(temporary.PORTS)
