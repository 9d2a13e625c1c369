"""The quick way through a deck's file reads what the usual way reads, and tells the same faults."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.prices import deck_plain
from billing.prices.deck_file import NULL, DeckFile, DeckRules
from runtime.changing import WorldError

plain_codes = st.text("0123456789", min_size=1, max_size=15)
plain_prices = st.sampled_from(["0.01", "1", "99999.99999999", "blocked", "0.00000001"])
odd_codes = st.sampled_from(["", "x", "1" * 16, "٤٤", " 44", '"44"', "=1", "44\r"])
odd_prices = st.sampled_from(["0", "0.0", "00.000", "BLOCKED", "1,5", "100000", "1.", "-1", "", " 0.1 ", "0.1\x0b"])
moments = st.sampled_from(["", "2027-01-01", "2027-01-01T00:00:00+02:00", "2027-13-01", "1969-01-01", "nonsense", "9"])
mostly = st.integers(0, 40)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    header = draw(
        st.sampled_from(["code,price", "code,price", "code,price,effective_from", "Code,price", "price,code"])
    )
    start = draw(st.sampled_from(["", "", "\ufeff"]))
    lines = [start + header]
    for odd in draw(st.lists(mostly, max_size=30)):
        code = draw(odd_codes if odd == 0 else plain_codes)
        price = draw(odd_prices if odd == 1 else plain_prices)
        fields = [code, price] if header != "price,code" else [price, code]
        if "effective" in header and odd != 2:
            fields.append(draw(moments if odd < 8 else moments.filter(lambda text: text in ("", "2027-01-01"))))
        lines.append("" if odd == 3 else ",".join(fields))
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    return (end.join(lines) + draw(st.sampled_from(["", end]))).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(content=files(), allow_free=st.booleans(), block_bytes=st.sampled_from([16, 64, 1 << 18]))
def test_both_ways_read_the_same(tmp_path: Path, content: bytes, allow_free: bool, block_bytes: int) -> None:
    path = tmp_path / "deck.csv"
    path.write_bytes(content)
    usual = DeckFile(path, DeckRules("Europe/Berlin", allow_free))
    quick = DeckFile(path, DeckRules("Europe/Berlin", allow_free))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deck_plain, "_BLOCK_BYTES", block_bytes)
        found = _outcome(lambda: b"".join(quick.blocks()).decode())
    assert found == _outcome(
        lambda: "".join(
            f"{r.line}\t{r.code}\t{NULL if r.price is None else r.price}\t{r.effective_from}\n" for r in usual.rows()
        )
    )
    assert (quick.errors, quick.rows_read) == (usual.errors, usual.rows_read)


def _outcome(read: Callable[[], str]) -> str | list[str]:
    try:
        return read()
    except WorldError as error:
        return list(error.messages)


def test_plain_rows_take_the_quick_way(tmp_path: Path) -> None:
    path = tmp_path / "deck.csv"
    path.write_text("code,price,effective_from\n44,0.01,\n447,blocked,2027-01-01\n1,x,\n")
    blocks = list(deck_plain.plain_blocks(path, allow_free=False, moment_of=lambda text: text or "always"))
    assert blocks == []
    path.write_text("code,price,effective_from\n44,0.01,\n447,blocked,2027-01-01\n")
    (block,) = deck_plain.plain_blocks(path, allow_free=False, moment_of=lambda text: text or "always")
    assert block.text == b"2\t44\t0.01\talways\n3\t447\t\\N\t2027-01-01\n"
    assert (block.rows, block.next_byte) == (2, path.stat().st_size)
