"""A worker whose place in its group nobody keeps up with is known at once, by what aiokafka itself knows."""

import asyncio
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.group_coordinator import GroupCoordinator

from runtime.connections import Kafka
from streams.coordination import coordination_error


def app_of(consumer: Any) -> Any:
    """As Faust holds aiokafka's consumer: in a thread of its own."""
    return SimpleNamespace(_consumer=SimpleNamespace(_thread=SimpleNamespace(_consumer=consumer)))


def test_before_there_is_a_consumer_nothing_is_wrong_and_none_is_made() -> None:
    app = faust.App("coordination", broker="kafka://127.0.0.1:9", web_enabled=False)
    assert coordination_error(app) == ""
    assert app._consumer is None
    assert coordination_error(app_of(None)) == ""


@pytest.mark.servers
async def test_coordination_that_goes_on_ends_well_or_fails(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    async def made() -> AIOKafkaConsumer:
        options = kafka.client()
        names = {"security_protocol", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password"}
        consumer = AIOKafkaConsumer(  # without topics, as Faust starts its own
            bootstrap_servers=options["bootstrap_servers"],
            group_id="streamco-coordination",
            **{name: value for name, value in options.items() if name in names},
        )
        await consumer.start()
        return consumer

    consumer = await made()
    assert coordination_error(app_of(consumer)) == ""
    await consumer.stop()
    assert coordination_error(app_of(consumer)) == ""

    async def fails(_: Any) -> None:
        raise IndexError("no broker was named")

    monkeypatch.setattr(GroupCoordinator, "_GroupCoordinator__coordination_routine", fails)
    consumer = await made()
    for _ in range(100):
        if coordination_error(app_of(consumer)):
            break
        await asyncio.sleep(0.05)
    assert "no broker was named" in coordination_error(app_of(consumer))
    await consumer.stop()
