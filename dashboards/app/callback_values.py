"""What a browser sends to a Dash callback, checked before Dash sees it: what does not fit is 400, never 500.

Dash believes its own renderer: a body of another form, an input that is missing or of another type ends as an error
somewhere in its code or in a page's. Here each callback's body is held against the callback as it is registered, and
each value against the one table of what a property may hold.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from dash._utils import clean_property_name

from dashboards.kit.bad_texts import broken_rule

_MOST_ITEMS: Final = 1_000  # of a pattern's inputs, of chosen rows
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
_Text = Annotated[str, msgspec.Meta(max_length=16_384)]
_Rows = Annotated[list[dict[str, Any]], msgspec.Meta(max_length=_MOST_ITEMS)]
_Texts = Annotated[list[_Text], msgspec.Meta(max_length=_MOST_ITEMS)]

BY_PROPERTY: Final[Mapping[str, Any]] = {
    "n_clicks": _Count | None,
    "n_submit": _Count | None,
    "n_intervals": _Count | None,
    "pathname": _Text | None,
    "search": _Text | None,
    "children": _Text | None,
    "value": _Text | None,
    "selectedRows": _Rows | None,
}
"""By property; what is not here has to be in BY_INPUT, which takes precedence."""
BY_INPUT: Final[Mapping[str, Any]] = {
    "check-look-up.value": _Texts | None,
    "check-asked.data": _Count | None,
    "try-asked.data": _Count | None,
    "try-filled.data": _Text | None,
    "call-id.data": _Text,
    "users-asked.data": _Text | None,
}


class BadCallbackError(ValueError):
    """A body that no page of ours sends: says what is wrong with it."""


def value_type(identity: str, name: str) -> Any:
    """What a property of a component may hold, for msgspec. Raises KeyError where no table says so."""
    return BY_INPUT.get(f"{identity}.{name}") or BY_PROPERTY[name]


def read_body(raw: bytes, callbacks: Mapping[str, Mapping[str, Any]]) -> str:
    """The callback (its key in `callbacks`, which is Dash's own map) that a body asks for. Raises BadCallbackError."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadCallbackError("the body must be JSON") from error
    if not isinstance(body, dict):
        raise BadCallbackError("the body must be an object")
    if rule := broken_rule(body):
        raise BadCallbackError(f"the body {rule}")
    output = body.get("output")
    callback = callbacks.get(output) if isinstance(output, str) else None
    if callback is None or "callback" not in callback:  # others run in the browser
        raise BadCallbackError("output: there is no such callback")
    _check_outputs(callback["output"], body.get("outputs"))
    for name, declared in (("inputs", callback["inputs"]), ("state", callback["state"])):
        given = body.get(name, [])
        if not isinstance(given, list) or len(given) != len(declared):
            raise BadCallbackError(f"{name}: must be a list of {len(declared)}")
        for one, wanted in zip(given, declared, strict=True):
            _check_input(name, one, wanted)
    changed = body.get("changedPropIds", [])
    if not isinstance(changed, list) or len(changed) > _MOST_ITEMS:
        raise BadCallbackError("changedPropIds: must be a list")
    for one in changed:
        if not any(_is_changed(one, wanted) for wanted in callback["inputs"]):
            raise BadCallbackError("changedPropIds: must be inputs of this callback")
    return str(output)


def _check_outputs(declared: Any, given: Any) -> None:
    wanted = [(one.component_id_str(), one.component_property) for one in _listed(declared)]
    found = [
        (one.get("id"), clean_property_name(one["property"]))
        for one in _listed(given)
        if isinstance(one, dict) and isinstance(one.get("property"), str)
    ]
    if found != wanted or len(found) != len(_listed(given)) or isinstance(declared, list) != isinstance(given, list):
        raise BadCallbackError("outputs: must be those of this callback")


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _check_input(name: str, given: Any, wanted: Mapping[str, str]) -> None:
    """`wanted`: id and property as they are registered; a pattern's id is JSON."""
    pattern = _pattern(wanted["id"])
    if isinstance(given, list) != bool(pattern) or (isinstance(given, list) and len(given) > _MOST_ITEMS):
        raise BadCallbackError(f"{name}: {wanted['id']} must be {'a list' if pattern else 'one'}")
    for one in given if isinstance(given, list) else [given]:
        if not isinstance(one, dict) or one.get("property") != wanted["property"]:
            raise BadCallbackError(f"{name}: must have the property {wanted['property']}")
        identity = one.get("id")
        if not (_fits(identity, pattern) if pattern else identity == wanted["id"]):
            raise BadCallbackError(f"{name}: must be {wanted['id']}")
        try:
            msgspec.convert(one.get("value"), value_type(pattern.get("type", wanted["id"]), wanted["property"]))
        except msgspec.ValidationError as error:
            raise BadCallbackError(f"{name}: {wanted['id']}.{wanted['property']}: {error}") from error


def _pattern(identity: str) -> Mapping[str, Any]:
    """The parts of a pattern's id; nothing for a plain one."""
    return dict(msgspec.json.decode(identity)) if identity.startswith("{") else {}


def _fits(identity: Any, pattern: Mapping[str, Any]) -> bool:
    """Is it an id that a pattern stands for? Of ours all wildcards are places: whole numbers."""
    if not isinstance(identity, dict) or identity.keys() != pattern.keys():
        return False
    return all(
        (type(identity[name]) is int and 0 <= identity[name] <= _MOST_ITEMS) if isinstance(part, list) else
        identity[name] == part
        for name, part in pattern.items()
    )  # fmt: skip


def _is_changed(given: Any, wanted: Mapping[str, str]) -> bool:
    if not isinstance(given, str):
        return False
    identity, _, name = given.rpartition(".")
    if name != wanted["property"]:
        return False
    pattern = _pattern(wanted["id"])
    if not pattern:
        return identity == wanted["id"]
    try:
        return _fits(msgspec.json.decode(identity), pattern)
    except (msgspec.MsgspecError, RecursionError):
        return False


def declared_inputs(callbacks: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Id (a pattern's type) and property of all that callbacks on the server take."""
    for callback in callbacks.values():
        if "callback" in callback:
            for one in (*callback["inputs"], *callback["state"]):
                yield _pattern(one["id"]).get("type", one["id"]), one["property"]
