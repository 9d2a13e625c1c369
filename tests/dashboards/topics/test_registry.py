"""Pages and paths of the API register themselves: each has what it needs, a role that may see it, and a test."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dashboards.access.table import SEE, TABLE
from dashboards.topics import registry
from dashboards.topics.registry import Page, RegistryError, Route, pages, routes

TOPICS = Path(registry.__file__).parent
TESTS = Path(__file__).parent


@pytest.fixture
def fresh() -> Any:
    """Both lists are made anew, before and after."""
    pages.cache_clear()
    routes.cache_clear()
    yield
    pages.cache_clear()
    routes.cache_clear()


def test_each_page_has_a_title_and_roles() -> None:
    for page in pages():
        assert page.title.strip(), page.path
        assert page.roles, page.path
        assert page.path.startswith("/"), page.path
    titles = [page.title for page in pages()]
    assert len(set(titles)) == len(titles)


def test_the_header_has_the_pages_in_their_order() -> None:
    orders = [page.order for page in pages() if page.order is not None]
    assert orders == sorted(set(orders)), "two pages at one place"
    assert [page.title for page in pages()][:3] == ["Wall", "Active calls", "Check routing"]
    assert [page.order for page in pages()][-1] is None


def test_each_path_of_the_api_has_roles() -> None:
    for route in routes():
        assert TABLE[route.area, route.act], route.rule
        assert route.endpoint == f"api_{route.name}"


@pytest.mark.parametrize("module", ["page", "api"])
def test_each_topic_that_has_one_is_found_and_has_its_test(module: str) -> None:
    here = {one.parent.name for one in TOPICS.glob(f"*/{module}.py")}
    registered = {one.__module__ for one in (page.callbacks for page in pages())} | {
        route.view.__module__ for route in routes()
    }
    assert here == {name.split(".")[2] for name in registered if name.endswith(f".{module}")}
    without = {topic for topic in here if not (TESTS / topic / f"test_{module}.py").exists()}
    assert without == set()


def _page(path: str, area: str = "wall") -> Page:
    return Page(path=path, title=path, area=area, layout=lambda *_: None, callbacks=lambda *_: None)


def _route(rule: str, name: str, area: str = "reachability", act: str = SEE) -> Route:
    return Route(rule=rule, name=name, area=area, act=act, view=lambda *_: lambda: None)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((_page("/a"), _page("/a")), "'/a' is a page's path twice"),
        ((_page("/a", "invoices"),), "invoices/see has no row"),
    ],
)
def test_pages_that_cannot_be(monkeypatch: pytest.MonkeyPatch, fresh: None, found: tuple[Page, ...], said: str) -> None:
    monkeypatch.setattr(registry, "_modules", lambda _: [SimpleNamespace(PAGE=one) for one in found])
    with pytest.raises(RegistryError, match=said):
        pages()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((_route("a", "a"), _route("a", "b")), "is a path of the API twice"),
        ((_route("a", "a"), _route("b", "a")), "'a' is the name of a path of the API twice"),
        ((_route("a", "a", act="delete"),), "reachability/delete has no row"),
    ],
)
def test_paths_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, fresh: None, found: tuple[Route, ...], said: str
) -> None:
    monkeypatch.setattr(registry, "_modules", lambda _: [SimpleNamespace(ROUTES=found)])
    with pytest.raises(RegistryError, match=said):
        routes()
