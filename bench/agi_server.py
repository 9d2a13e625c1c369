"""The servers that P2 measures, each a process: the router as it is, or a handler that decides nothing.

`python -m bench.agi_server router|bare PARENT_PID`, settings as one JSON line on standard input.
"""

import asyncio
import json
import sys

import uvloop

from router.server.agi import AgiApplication, AgiRequest
from router.server.main import run
from router.settings import RouterSettings
from runtime.heartbeat import send_beat
from runtime.parent import end_with_parent


async def serve_bare(settings: RouterSettings, variables: list[tuple[str, str]]) -> None:
    """The same bounds, the same variables, no decision."""

    async def route(request: AgiRequest) -> None:
        await request.set_variables(variables)

    application = AgiApplication(settings, asyncio.get_running_loop())
    application.add_route("route", route)
    server = await application.listen(settings.host, settings.port)
    send_beat(settings.beat)
    async with server:
        await server.serve_forever()


def main(kind: str, parent_pid: int) -> None:
    """Serve until the parent ends it."""
    end_with_parent(parent_pid)
    order = json.loads(sys.stdin.readline())
    settings = RouterSettings.model_validate(order["settings"])
    if kind == "router":
        run(settings)
    else:
        uvloop.run(serve_bare(settings, [(name, value) for name, value in order["variables"]]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
