"""Kafka: topics of partitions, appended to; consumer groups whose commits are fenced by the group's generation."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from kafka.errors import KafkaConnectionError

from schemas.topics import TOPICS
from tests.simulation.clock import Host

PARTITIONS: Final = 4
SESSION_MS: Final = 6_000


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class CommitFailedError(ConnectionError):
    """The group has a newer generation, or the partition belongs to another member."""


class Broker:
    """The one broker. `refusals` and `losses` say whose next appends are not done, or done without an answer."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.bites = host.bites
        self.is_away = False
        self.refusals: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.log: dict[Place, list[bytes]] = {
            Place(topic.name, partition): [] for topic in TOPICS for partition in range(PARTITIONS)
        }
        self.hidden_until_ms: dict[Place, int] = {}
        self.groups: list[Group] = []
        self.appended = 0
        self.spoil: Callable[[Place, bytes], bytes] = lambda _place, value: value

    def append(self, topic: str, partition: int, value: bytes) -> None:
        """One message. Raises KafkaConnectionError: then it is there, or it is not."""
        self._host.effect()
        if self.is_away:
            raise KafkaConnectionError("away")
        if self._host.meets(self.refusals, "requests refused"):
            raise KafkaConnectionError("refused")
        self.put(topic, partition, value)
        if self._host.meets(self.losses, "answers lost"):
            raise KafkaConnectionError("the answer was lost")
        self._host.effect()

    def put(self, topic: str, partition: int, value: bytes) -> None:
        """A message, from anybody."""
        place = Place(topic, partition)
        value = self.spoil(place, value)
        self.log[place].append(value)
        self.appended += 1
        for group in self.groups:
            group.wake(place)

    def visible(self, place: Place) -> int:
        """How many messages consumers see: a partition may lag behind."""
        return 0 if self.hidden_until_ms.get(place, 0) > self._host.clock.now_ms else len(self.log[place])

    def hide(self, place: Place, ms: int) -> None:
        """Nobody is given anything of this partition for so long."""
        self.hidden_until_ms[place] = self._host.clock.now_ms + ms
        self._host.clock.after(ms, lambda: self.show(place))

    def show(self, place: Place) -> None:
        """It is there again."""
        for group in self.groups:
            group.wake(place)

    def heal(self) -> None:
        """No more faults."""
        self.is_away = False
        self.refusals.clear()
        self.losses.clear()
        self.hidden_until_ms.clear()
        for place in self.log:
            self.show(place)


class Group:
    """A consumer group: who reads what, and how far it has been committed."""

    def __init__(self, broker: Broker, topics: Iterable[str], members: int) -> None:
        self._broker = broker
        self.places = [Place(topic, partition) for topic in topics for partition in range(PARTITIONS)]
        self.committed = dict.fromkeys(self.places, 0)
        self.generation = 0
        self.owner: dict[Place, int] = {}
        self.members = set(range(members))
        self.on_assigned: Callable[[], None] = lambda: None
        self.on_message: Callable[[int, Place], None] = lambda _member, _place: None
        broker.groups.append(self)

    def rebalance(self, leaving: Iterable[int] = (), joining: Iterable[int] = ()) -> None:
        """Give the partitions out anew, to whoever is a member then: each time to others, if there are any."""
        self.members = (self.members - set(leaving)) | set(joining)
        self.generation += 1
        members = sorted(self.members)
        self.owner = (
            {place: members[(number + self.generation) % len(members)] for number, place in enumerate(self.places)}
            if members
            else {}
        )
        self.on_assigned()

    def commit(self, member: int, generation: int, offsets: dict[Place, int]) -> None:
        """Raises CommitFailedError for a member whose partitions were given away."""
        if generation != self.generation or any(self.owner.get(place) != member for place in offsets):
            self._broker.bites["commits fenced off"] += 1
            raise CommitFailedError("the group has gone on without this member")
        for place, offset in offsets.items():
            self.committed[place] = max(self.committed[place], offset)

    def wake(self, place: Place) -> None:
        """There is something new to read."""
        if place in self.committed and (member := self.owner.get(place)) is not None:
            self.on_message(member, place)

    def lag(self) -> dict[Place, int]:
        """Messages of each partition that are not committed."""
        ends = {place: len(self._broker.log[place]) for place in self.places}
        return {
            place: ends[place] - self.committed[place] for place in self.places if ends[place] > self.committed[place]
        }
