"""Room on a disk: low below the reserve, room again only a little above it; asked now and then; loud."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from runtime.disk import AGAIN_SECONDS, LOOK_SECONDS, MARGIN_BYTES, Disk, is_full, is_low

GIB = 1 << 30


@given(st.integers(1 << 20, 1 << 45), st.integers(0, 1 << 46), st.booleans())
def test_low_is_below_the_reserve_and_stays_so_up_to_the_margin(reserve: int, free: int, was_low: bool) -> None:
    low = is_low(free, reserve, was_low=was_low)
    assert low or free >= reserve
    assert not low or free < reserve + (min(MARGIN_BYTES, reserve // 8) if was_low else 0) or free < reserve
    assert is_low(free, reserve, was_low=low) == low  # it does not flutter while nothing changes


class Fake:
    """A disk whose free bytes, and whose clock, are what the test says."""

    def __init__(self, free: int) -> None:
        self.free, self.now, self.asked = free, 0.0, 0
        self.error: OSError | None = None

    def ask(self, _path: Path) -> int:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.free

    def disk(self, directory: Path) -> Disk:
        return Disk("test", directory, GIB, free=self.ask, clock=lambda: self.now)


def test_it_is_asked_now_and_then_and_says_loudly_what_changed(tmp_path: Path) -> None:
    fake = Fake(2 * GIB)
    disk = fake.disk(tmp_path / "not" / "there" / "yet")
    with capture_logs() as logs:
        assert not disk.look()
        assert disk.said == ""
        fake.free = GIB - 1
        assert not disk.look()  # asked a moment ago
        fake.now += LOOK_SECONDS
        assert disk.look()
        assert disk.said == "DISK NEARLY FULL under the test: 1023 MB free, 1024 MB are the reserve"
        fake.free = GIB + 1
        fake.now += LOOK_SECONDS
        assert disk.look()  # not yet
        fake.now += AGAIN_SECONDS
        assert disk.look()
        fake.error = OSError(errno.EIO, "gone")
        fake.now += LOOK_SECONDS
        assert disk.look()  # what cannot be asked stays as it was
        fake.error = None
        fake.free = GIB + MARGIN_BYTES
        fake.now += LOOK_SECONDS
        assert not disk.look()
    assert [one["event"] for one in logs] == [
        "the disk is nearly full: new calls are refused",
        "the disk is nearly full: new calls are refused",
        "a disk cannot be asked for its room",
        "the disk has room again",
    ]
    assert fake.asked == 6


def test_a_real_disk_has_room(tmp_path: Path) -> None:
    disk = Disk("test", tmp_path, 1 << 50)
    assert disk.look()
    assert disk.free_bytes is not None
    assert 0 < disk.free_bytes < 1 << 50


def test_only_want_of_room_is_full() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert is_full(OSError(number, "no room"))
    assert not is_full(OSError(errno.EIO, "broken"))
    with pytest.raises(OSError) as caught, Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")
    assert is_full(caught.value)


def test_a_beat_goes_on_in_its_own_room_when_the_disk_is_full(tmp_path: Path) -> None:
    """The last beat is written over; a process that works is not taken for dead."""
    program = (
        "import sys; from pathlib import Path; from runtime import heartbeat as beat\n"
        "path = Path(sys.argv[1]); beat.send_beat(path, detail='x' * 60)\n"
        "before = path.read_text()\n"
        "part = path.with_name(f'{path.name}.{__import__(\"os\").getpid()}.part'); part.symlink_to('/dev/full')\n"
        "beat.send_beat(path, detail='still at work')\n"
        "assert path.read_text() != before and len(path.read_text()) == len(before)\n"
        "beat.send_beat(path, detail='y' * 400)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x.beat")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a beat has no room") == 2
    text = (tmp_path / "x.beat").read_text()
    assert '"detail": ""' in text
    assert "still at work" not in text
