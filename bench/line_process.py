"""One process of the line, for the benches: `python -m bench.line_process agent|streams`, its settings on stdin."""

import logging
import sys

from streamco.logs import configure_logs


def main(kind: str) -> None:
    """Be this process."""
    configure_logs(kind, level=logging.WARNING)
    settings = sys.stdin.read()
    if kind == "agent":
        from agent.main import run as run_agent
        from agent.settings import AgentSettings

        run_agent(AgentSettings.model_validate_json(settings))
    else:
        from streams.settings import StreamsSettings
        from streams.worker import run as run_streams

        run_streams(StreamsSettings.model_validate_json(settings))


if __name__ == "__main__":
    main(sys.argv[1])
