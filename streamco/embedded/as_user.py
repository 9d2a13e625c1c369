"""Become another user, then the given command: `python as_user.py UID GID WAY COMMAND [ARGUMENT …]`.

PostgreSQL refuses to run as root. Where root starts the stack, its own directories (/root is 0700) are closed to any
other user, and we change no permission of a directory that we did not make. WAY `plain` drops every capability; WAY
`through` keeps exactly one, which lets the process pass directories that are closed to it (CAP_DAC_READ_SEARCH, or
CAP_DAC_OVERRIDE where a container has only that). Needs nothing but the standard library, and ends in exec, so that
the pid stays the one that the supervisor spawned.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

CAP_DAC_OVERRIDE: Final = 1
CAP_DAC_READ_SEARCH: Final = 2
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAPABILITY_VERSION_3: Final = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def usable_capability(status: str) -> int | None:
    """The weaker of the two capabilities that /proc/self/status says this process may hand on, or None."""
    sets = {line.split(":")[0]: int(line.split()[1], 16) for line in status.splitlines() if line.startswith("Cap")}
    both = sets.get("CapPrm", 0) & sets.get("CapBnd", 0)
    return next((number for number in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if both >> number & 1), None)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def become(uid: int, gid: int, capability: int | None) -> None:
    """Change to the user for good, keeping `capability` over the coming exec when one is given. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if capability is not None:
        _checked(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "PR_SET_KEEPCAPS")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if capability is not None:
        bit = 1 << capability
        sets = (_Sets * 2)(_Sets(bit, bit, bit), _Sets(0, 0, 0))
        _checked(libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets), "capset")
        _checked(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0), "PR_CAP_AMBIENT_RAISE")
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")


def main(arguments: list[str]) -> None:
    """See the module. Exits with 126 and a message when the user cannot be changed."""
    uid, gid, way, *command = arguments
    capability = None
    if way == "through":
        capability = usable_capability(Path("/proc/self/status").read_text())
        if capability is None:
            sys.exit(
                "root may not pass on the right to enter closed directories here; "
                "set STREAMCO_HOME (and put the clone) where every user may enter"
            )
    try:
        become(int(uid), int(gid), capability)
    except OSError as error:
        print(f"cannot become user {uid}: {error}", file=sys.stderr)
        raise SystemExit(126) from None
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
