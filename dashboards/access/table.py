"""Who may do what: one table of role × area × act, for pages, their callbacks and the REST API alike. Pure.

What has no row is nobody's. A page, a callback, a path of the API names its area and act where it is registered; the
tests hold every one of them against this table, and try each with every role.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

Role = Literal["administrator", "noc", "billing", "analyst", "viewer", "company"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
# A company's users get nothing before rows are scoped to their company.
_STAFF: Final = frozenset({"administrator", "noc", "billing", "analyst", "viewer"})
# A viewer is a screen on a wall, or a guest: figures, and no phone number.
_CALLS: Final = _STAFF - {"viewer"}
_NOC: Final = frozenset({"administrator", "noc"})
_ADMINISTRATOR: Final = frozenset({"administrator"})

SEE: Final = "see"
SHELL: Final = "shell"
TABLE: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    (SHELL, SEE): _STAFF,  # to log in at all: header, search
    ("account", SEE): _STAFF,  # one's own
    ("account", "change"): _STAFF,
    ("wall", SEE): _STAFF,
    ("calls", SEE): _CALLS,
    ("call", SEE): _CALLS,
    ("check-routing", SEE): _CALLS,
    ("check-routing", "look up"): _NOC,  # a provider charges for it
    ("try-translation", SEE): _CALLS,
    ("controls", SEE): _STAFF,
    ("controls", "release"): _NOC,
    ("audit", SEE): _STAFF,
    ("decisions", SEE): _CALLS,
    ("reachability", SEE): _STAFF,
    ("edge-refusals", SEE): _CALLS,
    ("users", SEE): _ADMINISTRATOR,
    ("users", "change"): _ADMINISTRATOR,
}

OPEN_ENDPOINTS: Final = frozenset({"login", "_dash_assets.static"})
"""What anybody may ask for: the form, and what it looks like."""
Endpoints = Mapping[str, tuple[str, str]]
ENDPOINTS: Final[Endpoints] = {
    "logout": (SHELL, SEE),
    # Dash's own. Pages are shown, and callbacks guarded, by their own rows (app/shell.py, app/callback_guard.py).
    "/": (SHELL, SEE),
    "/<path:path>": (SHELL, SEE),
    "/_dash-layout": (SHELL, SEE),
    "/_dash-dependencies": (SHELL, SEE),
    "/_dash-update-component": (SHELL, SEE),
    "/_dash-component-suites/<string:package_name>/<path:fingerprinted_path>": (SHELL, SEE),
    "/_reload-hash": (SHELL, SEE),
    "/_favicon.ico": (SHELL, SEE),
    "api_document": (SHELL, SEE),
}
"""Area and act by Flask's name of a route; paths of the API bring theirs themselves (topics/registry.py)."""


def enters(role: str, endpoint: str | None, endpoints: Endpoints) -> bool:
    """May a role ask for a route? None is no route: Flask answers that itself, 404 or 405."""
    return allowed(role, SHELL) and (endpoint is None or allowed(role, *endpoints.get(endpoint, ("", ""))))


def allowed(role: str, area: str, act: str = SEE) -> bool:
    """May a role do this? No for a role, area or act that is not in the table."""
    return role in TABLE.get((area, act), frozenset())


def roles_of(area: str, act: str) -> str:
    """Who may do this, in words, for those who may not."""
    found = [role for role in ROLES if allowed(role, area, act)]
    return ", ".join(found) or "nobody"
