"""The digest of a session: each node its own key, each session its own digest, and no secret in an error."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.agi_digest import (
    DIGEST_PATTERN,
    KEY_PATTERN,
    node_key_text,
    read_node_key,
    script_with_digest,
    session_digest,
)

SECRET = "the routers' secret"
TEXTS = st.text(max_size=40)
NODES = st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True)


def test_it_is_what_it_was() -> None:
    """Nodes that have their files from an earlier version are known by a later one."""
    key = read_node_key(node_key_text("a secret", "ast1"))
    inner = hmac.new(b"a secret", b"streamco agi inner ast1", "sha256").hexdigest()
    outer = hmac.new(b"a secret", b"streamco agi outer ast1", "sha256").hexdigest()
    assert (key.inner.decode(), key.outer.decode()) == (inner, outer)
    text = "route:ast1-1795609861-1795609900.12:1795609900.123"
    first = hashlib.sha1((inner + text).encode(), usedforsecurity=False).hexdigest()
    wanted = hashlib.sha1((outer + first).encode(), usedforsecurity=False).hexdigest()
    assert script_with_digest(key, *text.split(":")) == f"route?{wanted}"


@given(TEXTS, NODES, NODES, TEXTS, TEXTS, TEXTS)
def test_each_node_and_each_session_has_its_own(
    secret: str, node: str, other: str, script: str, call_id: str, started_at: str
) -> None:
    text = node_key_text(secret, node)
    assert KEY_PATTERN.fullmatch(text)
    assert (text == node_key_text(secret, other)) is (node == other)
    assert text != node_key_text(secret + "x", node)
    key = read_node_key(text)
    digest = session_digest(key, script, call_id, started_at)
    assert DIGEST_PATTERN.fullmatch(digest)
    assert digest not in {
        session_digest(key, script, call_id, f"{started_at}0"),
        session_digest(key, script, f"{call_id}0", started_at),
        session_digest(key, f"{script}0", call_id, started_at),
        session_digest(key._replace(inner=key.outer), script, call_id, started_at),
        session_digest(key._replace(outer=key.inner), script, call_id, started_at),
    }


@pytest.mark.parametrize("node", ["", "Ast1", "a" * 17, "ast 1", "../x"])
def test_what_is_no_node_has_no_key(node: str) -> None:
    with pytest.raises(ValueError, match="must be of the form"):
        node_key_text(SECRET, node)


@pytest.mark.parametrize("text", ["", "0" * 127, "0" * 129, "g" * 128, "0" * 128 + "\n"])
def test_a_wrong_key_is_an_error_without_the_key(text: str) -> None:
    with pytest.raises(ValueError, match="128 hexadecimal digits") as caught:
        read_node_key(text)
    assert not text or text not in str(caught.value)
