"""How files are known again, and where lines end."""

from hypothesis import given
from hypothesis import strategies as st

from agent.journal.marks import (
    EDGE_BYTES,
    MOST_LOST,
    Found,
    Mark,
    find_mark,
    head_of,
    in_order,
    tail_of,
    whole_lines,
    with_mark,
)

HEAD = head_of(b"one line\n") or ""


def test_the_file_that_is_written_comes_last_and_the_others_by_age() -> None:
    names = [("Master.csv", 1, 5), ("Master.csv.1", 2, 4), ("Master.csv.10", 3, 1), ("Master.csv.2", 4, 3)]
    found = [Found(name, inode, 10, modified) for name, inode, modified in names]
    assert [file.name for file in in_order(found)] == ["Master.csv.10", "Master.csv.2", "Master.csv.1", "Master.csv"]


def test_a_file_has_a_head_once_it_has_a_line_or_enough_of_one() -> None:
    assert head_of(b"") is None
    assert head_of(b"x" * (EDGE_BYTES - 1)) is None
    assert head_of(b"x" * EDGE_BYTES) == head_of(b"x" * EDGE_BYTES + b"more\n")
    assert head_of(b"one line\n") == head_of(b"one line\nand another\n")
    assert head_of(b"one line\n") != head_of(b"another line\n")


def test_a_file_is_known_by_inode_and_first_line() -> None:
    mark = Mark(7, HEAD, 40, "t")
    assert find_mark((mark,), 7, HEAD, {7}) is mark
    other = head_of(b"of another file that got the inode\n") or ""
    assert find_mark((mark,), 7, other, {7}) == Mark(7, other, 0, tail_of(b""))


def test_a_copied_directory_goes_on_where_the_original_stood() -> None:
    marks = (Mark(7, HEAD, 40, "t"), Mark(8, HEAD, 20, "u"))
    assert find_mark(marks, 99, HEAD, {99}) == Mark(99, HEAD, 20, "u")  # of twins the one that is further behind
    assert find_mark(marks, 99, HEAD, {99, 8}) == Mark(99, HEAD, 40, "t")
    assert find_mark(marks, 99, HEAD, {7, 8, 99}).offset == 0


def test_files_that_take_one_anothers_inodes_go_on_where_they_stood() -> None:
    """A directory that was copied over itself may give its files one another's inodes."""
    before = (Mark(1, "a", 5, "x"), Mark(2, "b", 6, "y"))
    first = find_mark(before, 2, "a", {2, 3})
    assert first == Mark(2, "a", 5, "x")
    marks = with_mark(before, first)
    second = find_mark(marks, 3, "b", {2, 3})
    assert second == Mark(3, "b", 6, "y")
    assert with_mark(marks, second)[-2:] == (first, second)
    assert find_mark(with_mark(marks, second), 3, "b", {2, 3}) == second


def test_of_files_that_have_lost_their_inodes_the_newest_are_remembered() -> None:
    marks: tuple[Mark, ...] = ()
    for number in range(40):
        marks = with_mark(marks, Mark(1, f"head{number}", number, ""))
    assert [mark.head for mark in marks] == [f"head{number}" for number in range(39 - MOST_LOST, 40)]


def test_a_mark_takes_the_place_of_its_files_old_one() -> None:
    marks = with_mark((Mark(1, "a", 5, ""), Mark(2, "b", 6, "")), Mark(1, "a", 9, ""))
    assert sorted((mark.inode, mark.offset) for mark in marks) == [(1, 9), (2, 6)]


@given(st.lists(st.binary(max_size=8).map(lambda text: text.replace(b"\n", b"\r"))), st.binary(max_size=8))
def test_lines_are_whole_and_nothing_of_them_is_lost(lines: list[bytes], torn: bytes) -> None:
    torn = torn.replace(b"\n", b"")
    whole = [line + b"\n" for line in lines]
    assert whole_lines(b"".join(whole) + torn, 1 << 20) == whole


def test_a_line_behind_one_that_was_never_finished_is_a_line_of_its_own() -> None:
    begun, line = b'"USER_DEFINED","179', b'"USER_DEFINED","2","LEG_ANSWER","x"\n'
    chunk = line + begun + line + b"garbage" + line + line + begun
    assert whole_lines(chunk, 1 << 20) == [line, begun, line, b"garbage", line, line]


def test_what_never_ends_is_given_out_in_pieces() -> None:
    assert whole_lines(b"x" * 63, 64) == []
    assert whole_lines(b"x" * 64, 64) == [b"x" * 64]
