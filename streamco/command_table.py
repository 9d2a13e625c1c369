"""The commands that have a module of their own, by name. Each is imported when it is run (lazy_group.py)."""

from typing import Final

from streamco.lazy_group import LazyCommand

LAZY: Final = {
    "api-token": LazyCommand(
        "streamco.routing_cli",
        "api_token",
        "Give a user of the dashboards a token of the REST API, called NAME and shown once; it acts as the user.",
    ),
    "audit": LazyCommand("streamco.audit_cli", "audit", "Compare journals, rated legs, CDRs and ledger."),
    "change-agi-secret": LazyCommand(
        "streamco.agi_secret_cli",
        "change_secret",
        "Make a new secret of the nodes' keys; the present one counts for some hours more.",
    ),
    "check-routing": LazyCommand(
        "streamco.routing_cli", "check_routing", "Ask the router's own core where a call would go, and why."
    ),
    "controls": LazyCommand(
        "streamco.controls_cli", "controls", "What controllers have done to vendors and customers."
    ),
    "dead-letters": LazyCommand(
        "streamco.dead_letters_cli",
        "dead_letters",
        "What could not be processed: kept whole, with its reason and where it came from.",
    ),
    "edge-refusals": LazyCommand(
        "streamco.refusals_cli",
        "edge_refusals",
        "Show SIP requests that were refused before any call began: who sent them, and with what they were refused.",
    ),
    "load-pool": LazyCommand(
        "streamco.numbers_cli",
        "load_pool",
        "Make the numbers of a CSV FILE (one column, `number`) the pool NAME, all or nothing.",
    ),
    "metrics": LazyCommand(
        "streamco.metrics_cli",
        "metrics",
        "Print the metrics of all processes in Prometheus' text format, with the label `component`.",
    ),
    "reachability": LazyCommand(
        "streamco.reach_cli",
        "reachability",
        "Show which vendors do not answer, on which node, since when, and when they are tried again.",
    ),
    "try-translation": LazyCommand(
        "streamco.numbers_cli",
        "try_translation",
        "Show, step by step, what becomes of a NUMBER that a peer sends us, or is sent.",
    ),
    "why": LazyCommand(
        "streamco.routing_cli",
        "why",
        "Show the stored decision on a call: every candidate, taken or why not, and the configuration it was made"
        " with.",
    ),
}
