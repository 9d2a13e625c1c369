"""Texts that no store can keep: refused with 400, by the door, before a page or the API looks at the request.

PostgreSQL has no NUL in its texts, and what is half of a surrogate pair is no UTF-8. Neither comes from a keyboard.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import flask
from werkzeug.datastructures import MultiDict

from dashboards.api import PREFIX
from dashboards.api.problems import problem

RULE: Final = "must not have NUL characters"


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


def has_bad_text(value: Any) -> bool:
    """Has a decoded JSON value a bad text anywhere, names included? It must not be nested too deeply to be decoded."""
    if isinstance(value, str):
        return is_bad(value)
    if isinstance(value, Mapping):
        return any(has_bad_text(name) or has_bad_text(one) for name, one in value.items())
    return isinstance(value, list) and any(map(has_bad_text, value))
