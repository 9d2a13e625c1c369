"""The model of Kafka does what Kafka does: order, offsets, groups, a member that is put out and commits too late."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import CommitFailedError as RealCommitFailedError
from kafka.structs import OffsetAndMetadata

from runtime.connections import Kafka
from schemas.topics import CALLS
from tests.simulation.broker import Broker, CommitFailedError, Group, Place
from tests.simulation.clock import Host

PARTITIONS = 4  # that messages are put into
DEADLINE_SECONDS = 60.0
Read = list[tuple[int, int, bytes]]  # (partition, offset, value)


class Member(Protocol):
    """A consumer of a group."""

    def read(self, count: int) -> Read:
        """So many messages that it was not given yet."""

    def commit(self, offsets: dict[int, int]) -> bool:
        """Whether the group took it."""

    def fall_asleep(self) -> None:
        """Until the group has given its partitions to others."""


class Log(Protocol):
    """A broker with one topic."""

    def append(self, partition: int, value: bytes) -> None:
        """A message."""

    def join(self, group: str) -> Member:
        """A new member."""

    def committed(self, group: str, partition: int) -> int:
        """How far a group is."""


class ModelMember:
    def __init__(self, log: "ModelLog", group: Group, number: int) -> None:
        self._log, self._group, self.number = log, group, number
        self.assigned()

    def assigned(self) -> None:
        self._generation = self._group.generation
        mine = [place for place, member in self._group.owner.items() if member == self.number]
        self._position = {place: self._group.committed[place] for place in mine}

    def read(self, count: int) -> Read:
        found: Read = []
        for place, first in self._position.items():
            end = self._log.broker.visible(place)
            found += [(place.partition, at, self._log.broker.log[place][at]) for at in range(first, end)]
            self._position[place] = end
        assert len(found) == count
        return found

    def commit(self, offsets: dict[int, int]) -> bool:
        try:
            places = {Place(CALLS.name, partition): offset for partition, offset in offsets.items()}
            self._group.commit(self.number, self._generation, places)
        except CommitFailedError:
            return False
        return True

    def fall_asleep(self) -> None:
        self._group.rebalance(leaving=[self.number])


class ModelLog:
    def __init__(self) -> None:
        self.broker = Broker(Host())
        self._groups: dict[str, Group] = {}
        self._members = 0

    def append(self, partition: int, value: bytes) -> None:
        self.broker.append(CALLS.name, partition, value)

    def join(self, group: str) -> Member:
        known = self._groups.setdefault(group, Group(self.broker, (CALLS.name,), 0))
        self._members += 1
        known.rebalance(joining=[self._members])
        return ModelMember(self, known, self._members)

    def committed(self, group: str, partition: int) -> int:
        return self._groups[group].committed[Place(CALLS.name, partition)]


class RealMember:
    def __init__(self, kafka: Kafka, group: str) -> None:
        self._consumer: Any = KafkaConsumer(
            CALLS.name, **kafka.client(), group_id=group, enable_auto_commit=False,
            auto_offset_reset="earliest", session_timeout_ms=6_000, heartbeat_interval_ms=500,
            max_poll_interval_ms=6_000, metadata_max_age_ms=2_000,
        )  # fmt: skip
        self._ahead: Read = []

    def read(self, count: int) -> Read:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(self._ahead) < count and time.monotonic() < deadline:
            for partition, messages in self._consumer.poll(timeout_ms=200).items():
                self._ahead += [(partition.partition, one.offset, one.value) for one in messages]
        found, self._ahead = self._ahead, []
        assert len(found) == count
        return found

    def commit(self, offsets: dict[int, int]) -> bool:
        try:
            self._consumer.commit(
                {TopicPartition(CALLS.name, number): OffsetAndMetadata(at, "", -1) for number, at in offsets.items()}
            )
        except RealCommitFailedError:
            return False
        return True

    def fall_asleep(self) -> None:
        """It polls no more: after max_poll_interval_ms it is out."""
        time.sleep(7)

    def close(self) -> None:
        self._consumer.close(autocommit=False)


class RealLog:
    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._producer: Any = KafkaProducer(**kafka.client())
        self._members: list[RealMember] = []

    def append(self, partition: int, value: bytes) -> None:
        self._producer.send(CALLS.name, value, partition=partition).get(DEADLINE_SECONDS)

    def join(self, group: str) -> Member:
        self._members.append(RealMember(self._kafka, group))
        return self._members[-1]

    def committed(self, group: str, partition: int) -> int:
        consumer: Any = KafkaConsumer(**self._kafka.client(), group_id=group, enable_auto_commit=False)
        try:
            return consumer.committed(TopicPartition(CALLS.name, partition)) or 0
        finally:
            consumer.close()

    def close(self) -> None:
        for member in self._members:
            member.close()
        self._producer.close()


@pytest.fixture(params=["model", pytest.param("real", marks=pytest.mark.servers)])
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    if request.param == "model":
        yield ModelLog()
        return
    real = RealLog(request.getfixturevalue("kafka"))
    yield real
    real.close()


def _fill(log: Log, put: Callable[[int], bytes] = lambda number: b"%d" % number) -> None:
    for number in range(12):
        log.append(number % PARTITIONS, put(number))


def _by_partition(read: Read) -> dict[int, list[tuple[int, bytes]]]:
    return {
        number: [(offset, value) for partition, offset, value in read if partition == number]
        for number in range(PARTITIONS)
    }


WHOLE = {number: [(0, b"%d" % number), (1, b"%d" % (number + 4)), (2, b"%d" % (number + 8))] for number in range(4)}


def test_each_partition_is_given_whole_and_in_order_to_each_group(log: Log) -> None:
    _fill(log)
    for group in ("one", "other"):
        assert _by_partition(log.join(group).read(12)) == WHOLE
        assert log.committed(group, 0) == 0


def test_who_takes_over_begins_at_what_was_committed_and_the_zombie_commits_nothing(log: Log) -> None:
    _fill(log)
    zombie = log.join("workers")
    zombie.read(12)
    assert zombie.commit({0: 2, 1: 3})
    zombie.fall_asleep()
    heir = log.join("workers")
    left = _by_partition(heir.read(12 - 5))
    assert left == {0: WHOLE[0][2:], 1: [], 2: WHOLE[2], 3: WHOLE[3]}
    assert not zombie.commit({2: 3})
    assert [log.committed("workers", partition) for partition in range(PARTITIONS)] == [2, 3, 0, 0]
    assert heir.commit({2: 1})
    assert log.committed("workers", 2) == 1
