"""Stream workers: what the product's agents do with a batch is the real code; how Faust feeds them is modelled.

Modelled: messages are given out once, from the committed offset on; acknowledged offsets are committed as far as there
is no gap, half a second later; a member that was put out of its group cannot commit; a producer's message is on its way
until the broker has answered.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from kafka.errors import KafkaError

from tests.simulation.broker import SESSION_MS, Broker, Group, Place
from tests.simulation.clock import Host, Process, Suspend

COMMIT_MS: Final = 500
LINGER_MS: Final = 5
SEND_MS: Final = 20_000
ASLEEP_MS: Final = 1_000
_RETRY_MS: Final = 250


class _Where(NamedTuple):
    topic: str
    partition: int
    offset: int


class Event(NamedTuple):
    """What the product sees of a Faust event."""

    value: bytes
    message: _Where
    assignment: int


class Topic:
    """What the product sees of a Faust topic: `send` gives what is to be waited for."""

    def __init__(self, worker: "Worker", name: str) -> None:
        self._worker, self._name = worker, name

    async def send(self, *, key: None, value: bytes, partition: int) -> Suspend:
        """Put it on its way."""
        return self._worker.produce(Place(self._name, partition), value)


class Stream:
    """What the product sees of a Faust stream."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    async def ack(self, event: Event) -> None:
        """This message is done with."""
        self._worker.acknowledge(event)


Body = Callable[[Any, list[Any]], Awaitable[None]]


class Worker(Process):
    """One worker of a role, member of the role's group."""

    within_ms = 200

    def __init__(self, host: Host, role: str, number: int, group: Group, broker: Broker, most_messages: int) -> None:
        super().__init__(host, f"{role}-{number}")
        self.number, self.group, self._broker, self._most = number, group, broker, most_messages
        self._forget()

    def _forget(self) -> None:
        self.generation = -1
        self._position: dict[Place, int] = {}
        self._assignment: dict[Place, int] = {}
        self._acknowledged: dict[Place, set[int]] = {}
        self._waiting: dict[str, Suspend] = {}
        self._on_the_way: list[tuple[Place, bytes, Suspend, int]] = []
        self._is_commit_due = self._is_flush_due = False
        self._turn = 0

    def begin(self) -> None:
        """Join the group, and read."""
        self._forget()
        if self.number in self.group.members:
            self.assigned()
        else:
            self.group.rebalance(joining=[self.number])
        for topic, make in self.agents().items():
            self.spawn(self._read(topic, make))

    def agents(self) -> dict[str, Callable[[], Awaitable[Body]]]:
        """By topic: what makes the agent's body, connections and all."""
        raise NotImplementedError

    async def _read(self, topic: str, make: Callable[[], Awaitable[Body]]) -> None:
        stream, body = Stream(self), await make()
        while True:
            batch = self._take(topic)
            if batch:
                await body(stream, batch)
            else:
                waiting = self._waiting[topic] = Suspend()
                await waiting
                await self.host.pause(self.within_ms)

    # --- the consumer

    def assigned(self) -> None:
        """The group has given its partitions out anew."""
        if not self.is_alive or self.frozen_until_ms > self.host.clock.now_ms:
            return
        self.generation = self.group.generation
        mine = {place for place, member in self.group.owner.items() if member == self.number}
        for place in [*self._position]:
            if place not in mine:
                del self._position[place]
                self._acknowledged.pop(place, None)
        for place in mine - self._position.keys():
            self._position[place] = self.group.committed[place]
            self._assignment[place] = self.generation
            self._acknowledged[place] = set()
            self.taken_over(place)
        for topic in {place.topic for place in mine}:
            self.message(Place(topic, 0))

    def taken_over(self, place: Place) -> None:
        """A partition has become this worker's."""

    def message(self, place: Place) -> None:
        """There may be something to read."""
        waiting = self._waiting.pop(place.topic, None)
        if waiting is not None:
            waiting.finish()

    def _take(self, topic: str) -> list[Event]:
        places = sorted(place for place in self._position if place.topic == topic)
        if not places:
            return []
        self._turn += 1
        turn = self._turn % len(places)
        batch: list[Event] = []
        for place in places[turn:] + places[:turn]:
            log, first = self._broker.log[place], self._position[place]
            end = min(self._broker.visible(place), first + self._most - len(batch))
            for offset in range(first, end):
                batch.append(Event(log[offset], _Where(place.topic, place.partition, offset), self._assignment[place]))
            self._position[place] = max(first, end)
        return batch

    def acknowledge(self, event: Event) -> None:
        """Its offset may be committed; not if the partition has been another's meanwhile."""
        self.host.effect()
        place = Place(event.message.topic, event.message.partition)
        if self._assignment.get(place) == event.assignment and place in self._position:
            self._acknowledged[place].add(event.message.offset)
            if not self._is_commit_due:
                self._is_commit_due = True
                self.later(COMMIT_MS, self._commit)

    def _commit(self) -> None:
        self._is_commit_due = False
        if self._broker.is_away:
            self._is_commit_due = True
            self.later(_RETRY_MS, self._commit)
            return
        offsets = {}
        for place, acknowledged in self._acknowledged.items():
            offset = self.group.committed[place]
            while offset in acknowledged:
                offset += 1
            if offset > self.group.committed[place]:
                offsets[place] = offset
        if offsets:
            self.host.effect()
            self.group.commit(self.number, self.generation, offsets)
            self.host.effect()

    # --- the producer

    def produce(self, place: Place, value: bytes) -> Suspend:
        """On its way; what is given back says when the broker has answered."""
        self.host.effect()
        sent = Suspend()
        self._on_the_way.append((place, value, sent, self.host.clock.now_ms))
        if self.is_atomic:
            self._flush()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self.later(LINGER_MS + self.host.slow_ms.get("kafka", 0), self._flush)
        return sent

    def _flush(self) -> None:
        self._is_flush_due = False
        messages, self._on_the_way = self._on_the_way, []
        for place, value, sent, since_ms in messages:
            try:
                self._broker.append(place.topic, place.partition, value)
                sent.finish()
            except KafkaError as error:
                if self._broker.is_away and not self.is_atomic and self.host.clock.now_ms - since_ms < SEND_MS:
                    self._on_the_way.append((place, value, sent, since_ms))
                else:
                    sent.finish(error=error)
        if self._on_the_way and not self._is_flush_due:
            self._is_flush_due = True
            self.later(_RETRY_MS, self._flush)

    # --- the group

    def ended(self) -> None:
        """A member that is away for longer than its session is put out."""
        self._put_out_after_session()

    def freeze(self, ms: int) -> None:
        """A zombie, if it is frozen for longer than its session: what it had begun goes on when it wakes."""
        super().freeze(ms)
        self.host.bites["zombies"] += ms > SESSION_MS
        self._put_out_after_session()
        self.later(1, self._thawed)

    def _thawed(self) -> None:
        """Its own watch ends a worker that finds that its partitions were given away while it slept."""
        if self.number not in self.group.members:
            self.later(ASLEEP_MS, lambda: self.kill(why="slept too long"))
        elif self.generation != self.group.generation:
            self.assigned()

    def _put_out_after_session(self) -> None:
        incarnation = self.incarnation

        def put_out() -> None:
            is_away = not self.is_alive or self.frozen_until_ms > self.host.clock.now_ms
            if self.incarnation == incarnation and is_away and self.number in self.group.members:
                self.host.note("put out of its group", self.name)
                self.group.rebalance(leaving=[self.number])

        self.host.clock.after(SESSION_MS, put_out)
