"""Texts that no store can keep: refused with 400, by the door, before a page or the API looks at the request.

PostgreSQL has no NUL in its texts, and what is half of a surrogate pair is no UTF-8. Neither comes from a keyboard.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import flask
from werkzeug.datastructures import MultiDict

from dashboards.kit.problems import PREFIX, problem

RULE: Final = "must not have NUL characters"
MAX_LEVELS: Final = 64
DEEP_RULE: Final = f"must be nested at most {MAX_LEVELS} levels deep"


def refuse_bad_texts() -> Any:
    """Before every request that the door lets in: None, or the answer that refuses it.

    JSON bodies are looked at where they are decoded.
    """
    request = flask.request
    forms = () if request.path.startswith(PREFIX) or request.method != "POST" else _texts(request.form)
    if not any(map(is_bad, (request.path, *_texts(request.args), *forms))):
        return None
    said = f"The request {RULE}."
    return problem(400, said) if request.path.startswith(PREFIX) else (said, 400)


def _texts(found: MultiDict[str, str]) -> Iterable[str]:
    for name, value in found.items(multi=True):
        yield name
        yield value


def is_bad(text: str) -> bool:
    """Has it a NUL, or half of a surrogate pair?"""
    return "\x00" in text or (not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text))


def broken_rule(value: Any, levels: int = MAX_LEVELS) -> str:
    """The rule that a decoded JSON value breaks, empty if none: a bad text anywhere, names included, or too deep.

    What is deeper than that can be decoded, but ends as an error somewhere behind: every library walks it by itself.
    """
    if isinstance(value, str):
        return RULE if is_bad(value) else ""
    if not isinstance(value, Mapping | list):
        return ""
    if levels == 0:
        return DEEP_RULE
    inner = (*value, *value.values()) if isinstance(value, Mapping) else value
    return next((rule for one in inner if (rule := broken_rule(one, levels - 1))), "")
