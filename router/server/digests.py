"""Who may ask: a session must carry the digest of the node whose call it names (schemas/agi_digest.py), and once.

Checked from the header, before anything is looked up, decided, held or refused for overload: an invented session is
closed without an answer, and so is a repeated one. The health check `ping` needs none: nothing is in its answer.

Nodes that were there before there were digests may go on without, so that an upgrade ends no calls: until their first
session with one, or an hour after their agent was last heard of. Then, and for every other node, it is asked for.
"""

import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

import structlog

from router.server.agi_text import AgiError
from router.server.polling import DATABASE_DOWN
from router.server.used_sessions import UsedSessions
from router.settings import RouterSettings
from runtime.metrics import counter
from schemas.agi import AGI_SCRIPT, WHO_SCRIPT
from schemas.agi_digest import DIGEST_PATTERN, NodeKey, node_key_text, read_node_key, session_digest
from schemas.ids import NODE_PATTERN

log = structlog.get_logger(__name__)
LOOK_SECONDS: Final = 5.0
ALARM_SECONDS: Final = 60.0
STATEMENT: Final = """
    SELECT name FROM nodes
    WHERE digest_optional AND last_seen_at > clock_timestamp() - interval '1 hour' ORDER BY name LIMIT 1000
"""
REQUIRE: Final = "UPDATE nodes SET digest_optional = false WHERE name = ANY (%s) AND digest_optional"
REFUSED: Final = counter("router_sessions_unproved", "Sessions closed because of their digest, by what it is.", ["why"])
WITHOUT: Final = counter("router_sessions_without_digest", "Sessions without a digest of nodes that may go on so.")
_ASKED: Final = frozenset({AGI_SCRIPT, WHO_SCRIPT})
_KEYS: Final = 1024


class Digests:
    """`require` is asked by the AGI server at each session's header; `look` keeps what PostgreSQL says of the nodes."""

    def __init__(
        self,
        settings: RouterSettings,
        read: Callable[[], Awaitable[frozenset[str]]],
        require: Callable[[list[str]], Awaitable[None]],
    ) -> None:
        """`read` gives the nodes that may go on without; `require` says that these have sent digests, and need them.

        Both may raise psycopg.Error, PoolTimeout, TimeoutError, OSError.
        """
        self._settings = settings
        self._read = read
        self._require = require
        self._used = UsedSessions(settings.sessions, shared=settings.listener is not None)
        self._ages = settings.agi_previous_secret is not None  # else the same secret counts for ever
        self._secrets = settings.agi_secrets(time.time())
        self._optional: frozenset[str] = frozenset()
        self._proved: set[str] = set()  # of the optional ones, since PostgreSQL was told last
        self._refused: tuple[str, float] = ("", 0.0)  # the last node refused, and when (monotonic)
        self._key = lru_cache(_KEYS)(_key_of)

    def require(self, script: str, headers: Mapping[str, str]) -> None:
        """Raise AgiError unless the session is its node's own and the first."""
        if script not in _ASKED:
            return
        call_id, started_at = headers.get("agi_arg_1", ""), headers.get("agi_arg_6", "")
        if "%" in call_id or "%" in started_at:
            call_id, started_at = unquote(call_id), unquote(started_at)
        node = call_id.partition("-")[0]  # the rest of the id is looked at when the arguments are read
        digest = headers.get("agi_network_script", "").partition("?")[2]
        if not digest and node in self._optional:
            WITHOUT.inc()
            return
        if why := self._fault(node, script, digest, call_id, started_at):
            REFUSED.labels(why).inc()
            if why != "used" and NODE_PATTERN.fullmatch(node):
                self._refused = node, time.monotonic()
            raise AgiError(f"a session of node {node[:16]}: its digest is {why}")
        if self._optional and node in self._optional:
            self._optional -= {node}
            self._proved.add(node)

    def _fault(self, node: str, script: str, digest: str, call_id: str, started_at: str) -> str:
        if not digest:
            return "missing"
        if DIGEST_PATTERN.fullmatch(digest) is None:
            return "wrong"
        if self._ages:
            self._secrets = self._settings.agi_secrets(time.time())
        known = False
        try:
            for secret in self._secrets:
                right = session_digest(self._key(secret, node), script, call_id, started_at)
                known |= hmac.compare_digest(right, digest)
        except ValueError as error:
            raise AgiError(f"arguments: {error}") from error
        if not known:
            return "wrong"
        return "" if self._used.take(digest) else "used"

    @property
    def said(self) -> str:
        """In words, for the beat; empty where there is nothing to do for anybody."""
        found = []
        node, at = self._refused
        if node and time.monotonic() - at < ALARM_SECONDS:
            found.append(
                f"sessions in the name of node {node} are refused: they carry no digest of its key"
                f" (`streamco asterisk-config {node}` writes it)"
            )
        if self._optional:
            nodes = ", ".join(sorted(self._optional))
            found.append(f"calls of nodes with files of before are taken without a digest: {nodes}")
        return "; ".join(found)

    async def look(self) -> None:
        """Tell PostgreSQL which nodes have sent digests, and ask which need none. While it is away, nothing changes."""
        try:
            if proved := sorted(self._proved):
                await self._require(proved)
                self._proved.difference_update(proved)
                log.info("nodes send digests: from now on they need them", nodes=proved)
            optional = await self._read()
        except DATABASE_DOWN as error:
            log.warning("nodes without digests are not known: as they were", error=repr(error)[:200])
            return
        self._optional = optional - self._proved

    def close(self) -> None:
        """Let go of the file of sessions."""
        self._used.close()


def _key_of(secret: str, node: str) -> NodeKey:
    return read_node_key(node_key_text(secret, node))
