"""The builder of snapshots as a process: it never outlives the router that started it."""

import subprocess
import sys


def test_a_builder_whose_router_has_died_already_ends_at_once() -> None:
    router = subprocess.Popen([sys.executable, "-c", ""])
    router.wait()
    done = subprocess.run(
        [sys.executable, "-m", "router.build.builder", str(router.pid)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"the parent process {router.pid} is gone" in done.stderr
