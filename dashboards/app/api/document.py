"""The OpenAPI document as the answers really are: errors as problems, 405 and 400 on every path, texts without NUL.

SpecTree writes what it knows from the views; what is true of all of them is added here, once.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dashboards.access.logins import LOGIN_PATTERN
from dashboards.kit.problems import MIMETYPE
from schemas.ids import CALL_ID_PATTERN

NO_NUL: Final = "^[^\\u0000]*$"
_IN_PATHS: Final = {"call_id": f"^{CALL_ID_PATTERN.pattern}$", "login": f"^{LOGIN_PATTERN}$"}
_REFERENCE: Final = "#/components/schemas/"


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """The document, changed in place."""
    for operation in _operations(document):
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and "content" in answer:
                (schema,) = answer["content"].values()
                answer["content"] = {MIMETYPE: schema}
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                parameter["schema"] |= {"minLength": 1, "maxLength": 64, "pattern": _IN_PATHS[parameter["name"]]}
            _without_nul(parameter["schema"])
        for body in operation.get("requestBody", {}).get("content", {}).values():
            _follow(document, body["schema"], set())
    return document


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _follow(document: Mapping[str, Any], schema: Any, seen: set[str]) -> None:
    """Every text of a body, through all that it refers to."""
    if isinstance(schema, list):
        for one in schema:
            _follow(document, one, seen)
    if not isinstance(schema, dict):
        return
    name = str(schema.get("$ref", "")).removeprefix(_REFERENCE)
    if name and name not in seen:
        _follow(document, document["components"]["schemas"][name], seen | {name})
    _without_nul(schema)
    for one in schema.values():
        _follow(document, one, seen)


def _without_nul(schema: dict[str, Any]) -> None:
    if schema.get("type") == "string" and "enum" not in schema:
        schema.setdefault("pattern", NO_NUL)
