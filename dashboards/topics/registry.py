"""Pages and paths of the API say themselves what they are, in their topic's package; nobody keeps a list of them.

topics/calls/page.py            PAGE = Page(path="/calls", title="Active calls", area="calls", order=20, …)
topics/reachability/api.py      ROUTES = (Route(rule="reachability", name="reachability", area="reachability", …),)

A new topic is a new package here. Who may see it is its row in access/table.py: without one it is nobody's.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Final, Literal

from spectree import SpecTree

from dashboards.access.table import SEE, TABLE
from dashboards.kit.page_callbacks import PageCallbacks
from dashboards.topics.sources import Sources

_TOPICS: Final = "dashboards.topics"


class RegistryError(Exception):
    """Two topics ask for the same path or name, or for a row that the table of access does not have."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """`path` of a page and all below it, if it ends in a slash. `area`: its row in access/table.py.

    `layout` is given what is behind the path, and the role of who looks. `order`: its place in the header; None: it has
    none there.
    """

    path: str
    title: str
    area: str
    layout: Callable[[str, str], Any]
    callbacks: Callable[[PageCallbacks, Sources], None]
    order: int | None = None

    @property
    def roles(self) -> frozenset[str]:
        """Who may see it."""
        return TABLE[self.area, SEE]


@dataclass(frozen=True, kw_only=True)
class Route:
    """`rule`: a path below the API's, with its parameters. `area` and `act`: its row in access/table.py.

    `view` makes the function that answers. `name` is unique: Flask's name of it is `endpoint`.
    """

    rule: str
    name: str
    area: str
    view: Callable[[SpecTree, Sources], Callable[..., Any]]
    method: Literal["GET", "POST"] = "GET"
    act: str = SEE

    @property
    def endpoint(self) -> str:
        """Flask's name of it."""
        return f"api_{self.name}"


@cache
def pages() -> tuple[Page, ...]:
    """All pages: those of the header in their order, then the others by path. Raises RegistryError."""
    found: list[Page] = [module.PAGE for module in _modules("page")]
    _check("a page's path", (page.path for page in found), ((page.area, SEE) for page in found))
    return tuple(sorted(found, key=lambda page: (page.order is None, page.order or 0, page.path)))


@cache
def routes() -> tuple[Route, ...]:
    """All paths of the API, by rule and method. Raises RegistryError."""
    found: list[Route] = [route for module in _modules("api") for route in module.ROUTES]
    rows = [(route.area, route.act) for route in found]
    _check("a path of the API", ((route.rule, route.method) for route in found), rows)
    _check("the name of a path of the API", (route.name for route in found), rows)
    return tuple(sorted(found, key=lambda route: (route.rule, route.method)))


def _modules(name: str) -> list[ModuleType]:
    """The module of that name in each topic's package that has one."""
    topics = import_module(_TOPICS)
    found = [f"{_TOPICS}.{one.name}.{name}" for one in iter_modules(topics.__path__) if one.ispkg]
    return [import_module(module) for module in found if find_spec(module) is not None]


def _check(what: str, keys: Iterable[Hashable], rows: Iterable[tuple[str, str]]) -> None:
    seen: set[Hashable] = set()
    for key in keys:
        if key in seen:
            raise RegistryError(f"{key!r} is {what} twice")
        seen.add(key)
    for row in rows:
        if row not in TABLE:
            raise RegistryError(f"{row[0]}/{row[1]} has no row in access/table.py")
