"""Bodies of Dash's callbacks: as its renderer would send them, and spoiled ones."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

# What a property holds on a page where nothing has happened yet; for the others there is None.
_FIRST: Mapping[str, Any] = {"call-id.data": "sim1-1795000000-1795000001.1", "wall-window.value": "15"}


def valid_body(callback: Mapping[str, Any], key: str, *, clicked: str = "") -> dict[str, Any]:
    """The body for a callback of Dash's map, by its key there. `clicked`: the id of what was pressed once."""
    outputs = callback["output"]
    listed = [{"id": one.component_id_str(), "property": one.component_property} for one in _listed(outputs)]
    inputs = [_item(one, clicked) for one in callback["inputs"]]
    changed = [f"{one['id']}.{one['property']}" for one in callback["inputs"] if one["id"] == clicked]
    return {
        "output": key,
        "outputs": listed if isinstance(outputs, list) else listed[0],
        "inputs": inputs,
        "state": [_item(one, clicked) for one in callback["state"]],
        "changedPropIds": changed,
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _item(declared: Mapping[str, str], clicked: str) -> Any:
    identity, name = declared["id"], declared["property"]
    if identity.startswith("{"):
        value = 1 if name in ("n_clicks", "n_submit") else "1"
        return [{"id": {**json.loads(identity), "at": at}, "property": name, "value": value} for at in range(2)]
    value = _FIRST.get(f"{identity}.{name}")
    return {"id": identity, "property": name, "value": 1 if identity == clicked else value}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for name, one in value.items():
            found += _places(one, (*path, name))
    elif isinstance(value, list):
        for at, one in enumerate(value):
            found += _places(one, (*path, at))
    return found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(["\x00", "\ud800", "at", "id", "property", "value", "n_clicks", -1, 2**63, 10**30, ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn, body: dict[str, Any]) -> Any:
    """A valid body with one to three places replaced, taken out or doubled."""
    made: Any = copy.deepcopy(body)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_places(made)))
        if not path:
            made = draw(VALUES)
            continue
        holder = made
        for step in path[:-1]:
            holder = holder[step]
        what = draw(st.sampled_from(("replace", "remove", "double")))
        if what == "remove":
            del holder[path[-1]]
        elif what == "double" and isinstance(holder, list):
            holder.append(holder[path[-1]])
        else:
            holder[path[-1]] = draw(VALUES)
    return made
