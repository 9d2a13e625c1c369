"""Bodies of callbacks: what pages send is let through; anything else is told what is wrong with it, never an error."""

import json
from contextlib import suppress
from typing import Any

import pytest
from callback_bodies import spoiled, valid_body
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from dashboards.app.callback_values import BY_INPUT, BadCallbackError, declared_inputs, read_body, value_type
from dashboards.app.web import Web
from dashboards.settings import DashboardsSettings
from runtime.connections import ClickHouse, Kafka, Postgres

WEB = Web(
    DashboardsSettings(
        postgres=Postgres(dsn=SecretStr("postgresql://nobody@127.0.0.1:9/none")),
        kafka=Kafka(bootstrap="127.0.0.1:9"),
        clickhouse=ClickHouse(url="http://127.0.0.1:9"),
        secret_key=SecretStr("k" * 32),
    )
)
CALLBACKS = WEB.dash.callback_map
ON_SERVER = sorted(key for key, one in CALLBACKS.items() if "callback" in one)


def test_every_input_of_every_callback_has_a_type_and_no_type_is_left_over() -> None:
    declared = set(declared_inputs(CALLBACKS))
    for identity, name in declared:
        value_type(identity, name)
    assert set(BY_INPUT) <= {f"{identity}.{name}" for identity, name in declared}
    assert len(ON_SERVER) > 15


@pytest.mark.parametrize("key", ON_SERVER)
def test_what_a_page_sends_is_let_through(key: str) -> None:
    body = valid_body(CALLBACKS[key], key)
    assert read_body(json.dumps(body).encode(), CALLBACKS) == key
    without = {**body, "inputs": [{k: v for k, v in one.items() if k != "value"} if isinstance(one, dict) else one
                                  for one in body["inputs"]]}  # fmt: skip
    assert read_body(json.dumps(without).encode(), CALLBACKS) == key


def test_a_callback_of_the_browser_is_none_of_the_server() -> None:
    others = CALLBACKS.keys() - set(ON_SERVER)
    assert others
    for key in others:
        with pytest.raises(BadCallbackError, match="no such callback"):
            read_body(json.dumps({"output": key, "outputs": [], "inputs": []}).encode(), CALLBACKS)


def test_the_doubles_of_an_output_are_known_by_their_own_names() -> None:
    """`children@…` is what the renderer sends where several callbacks have one output."""
    key = next(key for key in ON_SERVER if "@" in key)
    body = valid_body(CALLBACKS[key], key)
    body["outputs"] = [{**one, "property": f"{one['property']}@abc"} for one in body["outputs"]] if isinstance(
        body["outputs"], list) else {**body["outputs"], "property": "children@abc"}  # fmt: skip
    assert read_body(json.dumps(body).encode(), CALLBACKS) == key


@settings(max_examples=300)
@given(st.data())
def test_a_spoiled_body_is_refused_or_as_good_as_a_valid_one(data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(ON_SERVER))
    body = data.draw(spoiled(valid_body(CALLBACKS[key], key)))
    with suppress(BadCallbackError):
        assert read_body(json.dumps(body).encode(), CALLBACKS) in CALLBACKS


@given(st.binary(max_size=200))
def test_any_bytes_are_told_what_they_are_not(raw: bytes) -> None:
    with pytest.raises(BadCallbackError):
        read_body(raw, CALLBACKS)


def _changed(key: str, **values: Any) -> bytes:
    return json.dumps({**valid_body(CALLBACKS[key], key), **values}).encode()


@pytest.mark.parametrize("levels", [65, 200, 480, 700, 950])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_what_can_be_decoded_and_is_too_deep_for_what_comes_after_is_refused(levels: int, begin: str, end: str) -> None:
    key = next(key for key in ON_SERVER if "page.children" in key)
    body = valid_body(CALLBACKS[key], key)
    body["inputs"][0]["more"] = "DEEP"
    raw = json.dumps(body).replace('"DEEP"', begin * levels + "1" + end * levels)
    with pytest.raises(BadCallbackError, match=r"nested at most 64 levels|must be JSON"):
        read_body(raw.encode(), CALLBACKS)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b"null", b"[]", b"1" * 5_000, b'{"output": 1e999}', b"\xff", b""])
def test_hostile_json(raw: bytes) -> None:
    with pytest.raises(BadCallbackError):
        read_body(raw, CALLBACKS)


@pytest.mark.parametrize("key", ON_SERVER)
def test_outputs_inputs_and_types_are_those_of_the_callback(key: str) -> None:
    body = valid_body(CALLBACKS[key], key)
    other = {"id": "another", "property": "children"}
    outputs = [other, *body["outputs"][1:]] if isinstance(body["outputs"], list) else other
    for spoiled_body in (
        {**body, "outputs": outputs},
        {**body, "outputs": []},
        {**body, "inputs": body["inputs"][1:]},
        {**body, "inputs": [other, *body["inputs"][1:]]},
        {**body, "state": [*body["state"], other]},
        {**body, "inputs": [*body["inputs"][:-1], _valued(body["inputs"][-1], {"a": 1})]},
        {**body, "inputs": [*body["inputs"][:-1], _valued(body["inputs"][-1], "a\x00b")]},
    ):
        with pytest.raises(BadCallbackError):
            read_body(json.dumps(spoiled_body).encode(), CALLBACKS)


def _valued(one: Any, value: Any) -> Any:
    return [_valued(each, value) for each in one] if isinstance(one, list) else {**one, "value": value}


def test_what_was_changed_must_be_an_input() -> None:
    key = next(key for key in ON_SERVER if key.startswith("try-rules.children@") and "try-up" in str(CALLBACKS[key]))
    good = ['{"at":1,"type":"try-up"}.n_clicks', "try-add.n_clicks"]
    assert read_body(_changed(key, changedPropIds=good), CALLBACKS) == key
    for bad in ('{"at":"x","type":"try-up"}.n_clicks', '{"at":-1,"type":"try-up"}.n_clicks', '{"at":1}.n_clicks',
                '{"at":1,"type":"try-up"', "x.n_clicks", "", ".", "try-add.value", 7, None):  # fmt: skip
        with pytest.raises(BadCallbackError, match="changedPropIds"):
            read_body(_changed(key, changedPropIds=[bad]), CALLBACKS)


def test_every_callback_has_an_area_and_an_act() -> None:
    assert WEB.rules.keys() == CALLBACKS.keys()
