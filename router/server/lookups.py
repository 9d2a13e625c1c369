"""Look-ups of numbers over HTTP (LRN, HLR), each behind a bulkhead: one that hangs holds nobody but its own calls.

One `ask` takes at most the look-up's `timeout_ms`, whatever the service does. At most `max_parallel` questions of one
look-up are open; the next is told "busy" at once. After some failures in a row a look-up rests: for a while nobody
asks, so that a dead service costs no call its time. Answers are kept for `cache_seconds`; one number is asked once, by
however many calls at a time. Redirects are not followed, and an answer is read up to a bounded size.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from cachetools import TTLCache
from pydantic import SecretStr

from router.core.portability import FAILED, Dip, Outcome
from router.snapshot.lookups import Lookup
from runtime.metrics import Bounded, counter
from tariffs.numbers import NumberError, normalise

log = structlog.get_logger(__name__)
MOST_CACHED: Final = 200_000  # answers of one look-up
MOST_OPEN: Final = 2_000  # questions of all look-ups: a session waits for one at most
MOST_ANSWER_BYTES: Final = 16_384
FAILURES_TO_REST: Final = 5
REST_SECONDS: Final = 5.0

OPEN: Final = Bounded("router_lookups_open", "Questions to look-up services that wait for an answer.")
ASKED: Final = counter("router_lookups", "Numbers looked up, by look-up and what came of it.", ("lookup", "outcome"))


class _Service:
    """One look-up: its cache, its open questions, its failures in a row."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self.answers: TTLCache[str, tuple[Outcome, str]] = TTLCache(MOST_CACHED, max(1, lookup.cache_seconds))
        self.open: dict[str, asyncio.Task[tuple[Outcome, str]]] = {}
        self.failures = 0
        self.rests_until = 0.0


class Lookups:
    """Asks. One a router; `tokens` are sent as bearer tokens, by the look-up's name."""

    def __init__(
        self, tokens: Mapping[str, SecretStr] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Opens nothing: the first question does."""
        self._tokens = dict(tokens or {})
        self._clock = clock
        self._services: dict[str, _Service] = {}
        self._session: aiohttp.ClientSession | None = None
        OPEN.watch(MOST_OPEN, lambda: sum(len(service.open) for service in self._services.values()))

    async def close(self) -> None:
        """End what is open."""
        tasks = [task for service in self._services.values() for task in service.open.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def ask(self, lookup: Lookup, networks: Mapping[str, str], number: str) -> Dip:
        """What the service says of `number` (E.164 digits), within its time. Never raises for the service.

        `networks`: MCC and MNC to code, for an HLR.
        """
        began = time.perf_counter_ns()
        service = self._service(lookup)
        kept = service.answers.get(number) if lookup.cache_seconds else None
        outcome, answer = kept if kept is not None else await self._from_service(service, number)
        if outcome == "found" and lookup.kind == "hlr":
            code = networks.get(answer, "")
            outcome, answer = ("found", code) if code else ("unknown network", "")
        ASKED.labels(lookup.name, outcome).inc()
        return Dip(lookup.name, number, outcome, answer, kept is not None, (time.perf_counter_ns() - began) // 1_000)

    def _service(self, lookup: Lookup) -> _Service:
        service = self._services.get(lookup.name)
        if service is None or service.lookup != lookup:
            # A changed look-up starts anew; what the old one still waits for ends by itself, in its time.
            service = self._services[lookup.name] = _Service(lookup)
        return service

    async def _from_service(self, service: _Service, number: str) -> tuple[Outcome, str]:
        task = service.open.get(number)
        if task is None:
            if self._clock() < service.rests_until:
                return "resting", ""
            if len(service.open) >= service.lookup.max_parallel:
                OPEN.lose()
                return "busy", ""
            task = service.open[number] = asyncio.create_task(self._ask_once(service, number))
            task.add_done_callback(lambda _: service.open.pop(number, None))
        # Shielded: a call that is hung up must not take the answer from others that wait for it.
        return await asyncio.shield(task)

    async def _ask_once(self, service: _Service, number: str) -> tuple[Outcome, str]:
        outcome, answer = await self._fetch(service.lookup, number)
        if outcome in FAILED:
            service.failures += 1
            if service.failures >= FAILURES_TO_REST:
                service.rests_until = self._clock() + REST_SECONDS
                log.warning("look-up rests", lookup=service.lookup.name, outcome=outcome, seconds=REST_SECONDS)
        else:
            service.failures = 0
            if service.lookup.cache_seconds:
                service.answers[number] = (outcome, answer)
        return outcome, answer

    async def _fetch(self, lookup: Lookup, number: str) -> tuple[Outcome, str]:
        token = self._tokens.get(lookup.name)
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        try:
            async with (
                asyncio.timeout(lookup.timeout_ms / 1_000),
                self._http().get(
                    lookup.url.replace("{number}", number), headers=headers, allow_redirects=False
                ) as response,
            ):
                if response.status == 404:
                    return "same", ""
                raw = await response.content.read(MOST_ANSWER_BYTES + 1)
                while len(raw) <= MOST_ANSWER_BYTES and (more := await response.content.read(MOST_ANSWER_BYTES)):
                    raw += more
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return "no answer", ""
        if response.status != 200 or len(raw) > MOST_ANSWER_BYTES:
            return "bad answer", ""
        return read_answer(lookup, number, raw)

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Bounded by each look-up's own max_parallel: a limit of the connector's would let one hold up another.
            connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def read_answer(lookup: Lookup, number: str, raw: bytes) -> tuple[Outcome, str]:
    """(outcome, routing number or MCC and MNC) of a service's answer, which is text from the wire. Pure."""
    try:
        value: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "bad answer", ""
    for name in lookup.answer_field.split("."):
        if not isinstance(value, dict):
            return "bad answer", ""
        value = value.get(name)
    if value is None or value == "":
        return "same", ""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        return "bad answer", ""
    if lookup.kind == "hlr":
        good = text.isascii() and text.isdigit() and len(text) in (5, 6)
        return ("found", text) if good else ("bad answer", "")
    try:
        found = normalise(text)
    except NumberError:
        return "bad answer", ""
    return ("same", "") if found == number else ("found", found)
