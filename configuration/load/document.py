"""A user's own world from WORLD.yaml: checked field by field, then written all or nothing.

The YAML that is read is a plain one: no aliases, no tags, no key twice, and a plain scalar is a whole number, true,
false, null, or text. So prices stay exact, a country NO stays Norway, and a prefix 0044 keeps its zeros.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from configuration.entities.codecs import end_to_end
from configuration.entities.document import World
from configuration.load.apply import apply
from configuration.load.originators import originators_of, warnings
from runtime.changing import WorldError, changing, write_who
from runtime.user_acts import Person

MAX_FILE_BYTES: Final = 8_000_000
MAX_MESSAGES: Final = 100


@dataclass(frozen=True)
class LoadResult:
    """`changed`: rows inserted or changed; 0 where the database was like the file already.

    `warnings`: what was loaded, and may be a mistake or mean something else than is thought, one message per field.
    """

    changed: int
    companies: int
    peers: int
    warnings: tuple[str, ...] = ()


def load(dsn: str, yaml_path: Path | str, by: Person | None = None) -> LoadResult:
    """Load a world. Raises WorldError with one message per field; nothing is changed then."""
    world = read_world(Path(yaml_path))
    with changing(dsn, whole_world=True) as connection:
        applied = apply(connection, world)
        if applied.errors:
            raise WorldError(applied.errors[:MAX_MESSAGES])
        found = [*applied.notes, *warnings(connection, originators_of(world)), *end_to_end(world)]
        warned = found[:MAX_MESSAGES]
        if applied.written:
            write_who(connection, by, "configuration", "load", Path(yaml_path).name, f"{applied.written} rows changed")
    peers = sum(len(company.peers) for company in world.companies)
    return LoadResult(applied.written, len(world.companies), peers, tuple(warned))


def read_world(path: Path) -> World:
    """The world that a file holds. Raises WorldError."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise WorldError([f"{path}: {size} bytes: a world has at most {MAX_FILE_BYTES}"])
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise WorldError([f"{path}: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise WorldError([f"{path}: is not UTF-8 (byte {error.start})"]) from error
    return parse_world(text)


def parse_world(text: str) -> World:
    """The world of a YAML text. Raises WorldError."""
    try:
        data = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 a SafeLoader made stricter
    except yaml.YAMLError as error:
        raise WorldError([_yaml_message(error)]) from error
    except RecursionError as error:
        raise WorldError(["the file is nested too deeply"]) from error
    if not isinstance(data, dict):
        raise WorldError([f"the file must hold the fields {', '.join(World.model_fields)}"])
    try:
        return World.model_validate(data)
    except ValidationError as error:
        raise WorldError([_message(data, detail) for detail in error.errors()[:MAX_MESSAGES]]) from error


class _PlainLoader(yaml.SafeLoader):
    """See the module's text."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012 PyYAML's own way; none of YAML 1.1's guesses

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not read here", event.start_mark)
        if getattr(self.peek_event(), "tag", None) is not None:  # type: ignore[no-untyped-call]
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"tags ({event.tag}) are not read here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"field {key!r}: must be text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"field {key!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), list("tf"))
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(null|~|)$"), ["n", "~", ""])
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^-?(0|[1-9][0-9]{0,17})$"), list("-0123456789")
)


def _yaml_message(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return place + ": ".join(part for part in (error.context, error.problem) if part)
    return f"not YAML: {str(error)[:200]}"


def _message(data: Any, detail: ErrorDetails) -> str:
    """`companies[2].peers[0].host '10.0.0.300': must be …`."""
    path, value = "", data
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
    rule = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "string_pattern_mismatch":
        rule = f"must be of the form {detail['ctx']['pattern']}"
    if detail["type"] == "extra_forbidden":
        rule = "there is no such field"
    if detail["type"] == "value_error" and isinstance(value, dict) and path:
        return f"{path}.{rule}"  # the model's own rules begin with the field
    if isinstance(value, str | int) and detail["type"] not in ("missing", "extra_forbidden"):
        return f"{path} {value!r}"[:300] + f": {rule}"
    return f"{path}: {rule}" if path else rule
