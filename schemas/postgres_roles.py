"""Who may do what in PostgreSQL: each room has a role of its own with the rights of its row, and no others.

Deny by default: what is not written here nobody may do but the owner, whose tables they are and who runs migrations
only. A new table, view or function needs a row, even an empty one: a test compares this with the database.
runtime/postgres_roles.py makes the roles and grants the rights.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

Role = Literal["router", "agent", "streams", "auditor", "dashboards", "cli", "asterisk", "simulator"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
OWNER: Final = "owner"

_READ: Final = "SELECT"
_ADD: Final = "SELECT, INSERT"
_SHIFT: Final = "SELECT, INSERT, DELETE"
_PUT: Final = "SELECT, INSERT, UPDATE"
_ALL: Final = "SELECT, INSERT, UPDATE, DELETE"
_HOLD: Final = "SELECT, UPDATE (held)"
_POST: Final = "SELECT, UPDATE (balance, held)"
_COUNT_DOWN: Final = "SELECT, UPDATE (concurrent)"
_DECIDE: Final = "UPDATE (state, replays, decided_by, decided_why, decided_at)"
_RELEASE: Final = "UPDATE (released_at, released_by, released_why)"
Rights = Mapping[Role, str]


def _configured(cli: str = _PUT, **others: str) -> dict[str, str]:
    """Of a table of the configuration: routers take snapshots of it, pages check routing by them, commands load it."""
    return {"router": _READ, "dashboards": _READ, "cli": cli, **others}


# Table or view: role: what it may do with it. `UPDATE (held)`: that column alone.
_RELATIONS: Final[dict[str, dict[str, str]]] = {
    # The configuration.
    "currencies": _configured(),
    "companies": _configured(streams=_READ, simulator=_READ),
    "billing_packs": _configured(),
    "destinations": _configured(streams=_READ),
    "accounts": _configured(agent=_READ, streams=_READ, auditor=_READ),
    "route_classes": _configured(),
    "route_class_entries": _configured(_ALL, simulator=_READ),
    "hunting_classes": _configured(),
    "exchange_rates": _configured(),
    "release_tables": _configured(),
    "release_rules": _configured(_ALL),
    "decks": _configured(),
    "prices": _configured(f"{_ALL}, MAINTAIN", simulator=_READ),
    "peers": _configured(agent=_READ, streams=_READ, asterisk=_READ, simulator=_READ),
    "peer_nodes": _configured(_ALL, asterisk=_READ, simulator=_READ),
    "code_limits": _configured(_ALL, agent=_READ),
    "translations": _configured(_ALL),
    "number_pools": _configured(),
    "pool_numbers": _configured(_ALL),
    "blocks": _configured(_ALL),
    "allow_lists": _configured(_ALL),
    "lookups": _configured(),
    "mobile_networks": _configured(),
    "dids": _configured(),
    "termination_controls": {"streams": _READ, "dashboards": _READ, "cli": _PUT},
    "origination_controls": {"streams": _READ, "dashboards": _READ, "cli": _PUT},
    "configuration_generation": {"router": _READ, "dashboards": _READ, "cli": _READ},
    "originators_that_differ": {"cli": _READ},
    "limits": {"router": _READ, "agent": _READ, "dashboards": _READ, "cli": _READ},
    "seeded_world": {"cli": _ADD},
    # Nodes, and what they know.
    "nodes": {
        "router": "SELECT, UPDATE (digest_optional)", "agent": _PUT, "auditor": _READ, "dashboards": _READ, "cli": _PUT,
        "simulator": _READ, "asterisk": "SELECT, INSERT, UPDATE (sip_ipv6)",
    },
    "node_calls": {"agent": _PUT, "auditor": _READ, "cli": _READ},
    "vendor_reachability": {
        "router": "SELECT, UPDATE (skip_until)", "agent": _PUT, "dashboards": _READ, "cli": _READ,
    },
    "edge_refusals": {"agent": _SHIFT, "dashboards": _READ, "cli": _READ},
    # Money. A balance is moved by who posts; who holds money moves `held` alone.
    "account_balances": {
        "router": _HOLD, "agent": _HOLD, "streams": _POST, "auditor": _READ, "cli": _POST,
    },
    "ledger_entries": {"router": _READ, "agent": _READ, "streams": _ADD, "auditor": _READ, "cli": _ADD},
    "revised_legs": {"agent": _READ, "streams": _ADD},
    # To lock a row takes the right to change one of its columns.
    "holds": {
        "router": _ADD, "agent": _ALL, "streams": "SELECT, UPDATE (gone_at), DELETE", "auditor": _READ,
        "cli": "SELECT, UPDATE (gone_at), DELETE",
    },
    "swept_holds": {"agent": _SHIFT},
    # Limits.
    "limit_counters": {"router": _PUT, "agent": _PUT, "streams": _COUNT_DOWN, "cli": _COUNT_DOWN},
    "peer_counters": {},
    "limit_nodes": {"router": _READ, "agent": _ALL, "dashboards": _READ, "cli": _READ},
    "limit_leases": {"router": _READ, "agent": _ALL, "dashboards": _READ, "cli": _READ},
    "limits_now": {"cli": _READ},
    # Dead letters.
    "dead_letters": {"agent": _READ, "streams": _ADD, "auditor": _READ, "cli": f"SELECT, {_DECIDE}"},
    "letter_stops": {"router": _READ, "streams": _SHIFT},
    "waiting_letters": {"streams": _ALL, "auditor": _READ},
    # Controllers.
    "control_actions": {
        "router": _READ, "streams": f"SELECT, INSERT, {_RELEASE}", "dashboards": f"SELECT, {_RELEASE}",
        "cli": f"SELECT, {_RELEASE}",
    },
    "control_notifications": {"streams": _PUT, "dashboards": _ADD, "cli": _ADD},
    "customer_destinations": {"streams": _ALL},
    # The audit, the journals' and the topics' seals.
    "audit_state": {"agent": _READ, "auditor": _PUT},
    "audit_accounts": {"auditor": f"{_PUT}, TRUNCATE"},
    "audit_hours": {"agent": _READ, "auditor": f"{_PUT}, TRUNCATE", "dashboards": _READ},
    "audit_runs": {"auditor": _SHIFT, "dashboards": _READ, "cli": _READ},
    "audit_differences": {"auditor": _PUT, "dashboards": _READ, "cli": _READ},
    "audit_open_calls": {"agent": _READ, "auditor": _ALL},
    "audit_journals": {"agent": _PUT, "auditor": _READ, "dashboards": _READ},
    "audit_journal_hours": {"agent": _ALL},
    "audit_journal_findings": {"agent": _ALL, "auditor": _READ},
    "journal_segments": {"agent": _ALL, "dashboards": _READ, "cli": _READ},
    "topic_segments": {"auditor": _PUT, "cli": _READ},
    "topic_segment_money": {"auditor": _ADD, "cli": _READ},
    # People.
    "users": {"dashboards": _PUT, "cli": _PUT},
    "sessions": {"dashboards": _SHIFT, "cli": "SELECT, DELETE"},
    "api_tokens": {"dashboards": "SELECT, DELETE", "cli": _ALL},
    "login_addresses": {"dashboards": _ALL},
    "user_acts": {"dashboards": _ADD, "cli": _ADD},
    # The migrations' own.
    "streamco_migrations": {},
    "streamco_definitions": {},
}  # fmt: skip

_EVERYBODY: Final = frozenset(ROLES)
_HOLDERS: Final = frozenset[Role]({"router", "agent"})
_RELEASERS: Final = frozenset[Role]({"agent", "streams", "cli"})
_AGENT: Final = frozenset[Role]({"agent"})
_OF_TRIGGERS: Final = frozenset[Role]()  # run by their triggers, whoever changes the table
# Function: who may call it.
FUNCTIONS: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(
    {
        "admit": frozenset[Role]({"router"}),
        "extend_holds": _AGENT,
        "uncount_calls": _AGENT,
        "uncount_missing": _AGENT,
        "uncount_silent": _AGENT,
        "place_holds": _AGENT,
        "sweep_holds": _AGENT,
        "lease_limits": _AGENT,
        "release_holds": _RELEASERS,
        "count_down": _RELEASERS,
        "count_up": _AGENT,
        "originator_keys": _HOLDERS,
        "ledger_partition": frozenset[Role]({"streams", "cli"}),
        "summarize_ledger": frozenset[Role]({"auditor"}),
        # Pure: values in, a value out.
        "talk_price": _EVERYBODY,
        "billed_up": _EVERYBODY,
        "paid_seconds": _EVERYBODY,
        "fair_share": _EVERYBODY,
        "wrapped": _EVERYBODY,
        "is_timetable": _EVERYBODY,
        "is_order": _EVERYBODY,
        "announce_changes": _OF_TRIGGERS,  # of migrations
        "check_base_class": _OF_TRIGGERS,
        "check_control_peer": _OF_TRIGGERS,
        "check_did": _OF_TRIGGERS,
        "check_originators_alike": _OF_TRIGGERS,
        "check_peer": _OF_TRIGGERS,
        "check_release_rules": _OF_TRIGGERS,
        "check_route_entry": _OF_TRIGGERS,
        "check_system_currency": _OF_TRIGGERS,
        "check_time_zone": _OF_TRIGGERS,
        "check_translation": _OF_TRIGGERS,
        "configuration_changed": _OF_TRIGGERS,
        "forget_counters": _OF_TRIGGERS,
        "ledger_is_append_only": _OF_TRIGGERS,
        "open_balance": _OF_TRIGGERS,
        "pool_numbers_changed": _OF_TRIGGERS,
        "prices_changed": _OF_TRIGGERS,
    }
)
# Functions that act as the owner, each with a search path of its own: the one way to what nobody is granted.
DEFINERS: Final = frozenset(
    {
        "ledger_partition",
        "summarize_ledger",
        "configuration_changed",
        "prices_changed",
        "pool_numbers_changed",
        "open_balance",
        "forget_counters",
    }
)
# Who may have tables of its own for the length of a transaction: what loads files.
TEMPORARY: Final[frozenset[Role]] = frozenset({"cli"})


def _typed(rights: dict[str, str]) -> Rights:
    return MappingProxyType({role: rights[role] for role in ROLES if role in rights})


RELATIONS: Final[Mapping[str, Rights]] = MappingProxyType({name: _typed(rights) for name, rights in _RELATIONS.items()})


def role_name(database: str, room: str) -> str:
    """The role of a room in a database, or of its owner. Roles are a cluster's: two databases have their own."""
    return f"{database}_{room}"
