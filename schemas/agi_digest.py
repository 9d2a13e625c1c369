"""The digest by which a router knows that a session is of the node whose call it names. Pure.

    secret of the routers --HMAC-SHA256, the node's name--> the node's key: two parts of 64 hexadecimal digits
    digest = SHA1(second part + SHA1(first part + "SCRIPT:CALL_ID:STARTED_AT"))

The dialplan makes it of the arguments as it sends them, and sends it behind the script: agi://ROUTER/route?DIGEST. A
router that knows no digests reads nothing there. Asterisk has SHA1() and no HMAC: this is HMAC's construction, with a
key of its own in each pass instead of one key and two pads, each as long as SHA-1's block. So the digest of one text
helps nobody to that of a longer one, and SHA-1's known collisions are of no use without the key.

A node has its own key alone, in a file that only Asterisk reads; routers work out each node's.
"""

import hmac
import re
from hashlib import sha1
from typing import Final, NamedTuple

from schemas.ids import NODE_PATTERN

KEY_PATTERN: Final = re.compile(r"[0-9a-f]{128}", re.ASCII)
DIGEST_PATTERN: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
KEY_FILE: Final = "agi.key"  # beside the node's configuration files
_PART: Final = 64


class NodeKey(NamedTuple):
    """A node's key: what each pass begins with."""

    inner: bytes
    outer: bytes


def node_key_text(secret: str, node: str) -> str:
    """The key of a node as its file holds it. Raises ValueError for what is no node's name."""
    if NODE_PATTERN.fullmatch(node) is None:
        raise ValueError(f"node {node!r}: must be of the form {NODE_PATTERN.pattern}")
    parts = (
        hmac.new(secret.encode(), f"streamco agi {which} {node}".encode(), "sha256").hexdigest()
        for which in ("inner", "outer")
    )
    return "".join(parts)


def read_node_key(text: str) -> NodeKey:
    """The key of a file's text. Raises ValueError, without the text: it is a secret."""
    if KEY_PATTERN.fullmatch(text) is None:
        raise ValueError("the key of a node: must be 128 hexadecimal digits")
    return NodeKey(text[:_PART].encode(), text[_PART:].encode())


def session_digest(key: NodeKey, script: str, call_id: str, started_at: str) -> str:
    """The digest of a session: 40 hexadecimal digits. `started_at` is the text that the session's argument is."""
    inner = sha1(key.inner + f"{script}:{call_id}:{started_at}".encode()).hexdigest()  # noqa: S324 - see above
    return sha1(key.outer + inner.encode()).hexdigest()  # noqa: S324


def script_with_digest(key: NodeKey, script: str, call_id: str, started_at: str) -> str:
    """What stands behind the router's address in a request."""
    return f"{script}?{session_digest(key, script, call_id, started_at)}"
