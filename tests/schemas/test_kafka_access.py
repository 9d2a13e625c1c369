"""Who may do what in Kafka: the table is the least that the code needs, and names nobody and nothing else."""

import pytest

from schemas.kafka_access import ACCESS, EVERY, OWNER, Grant, all_grants, grants_of, password_setting, user_of
from schemas.topics import SEALED, TOPICS
from streamco.rooms import STREAM_ROLES
from streams.worker import READ


def test_the_router_s_lines_in_full() -> None:
    assert grants_of("router") == {
        Grant("streamco-router", "topic", "quality", "read"),
        Grant("streamco-router", "topic", "decisions", "write"),
    }


def test_a_worker_reads_what_its_role_works_on_and_its_own_tables() -> None:
    for role, topics in READ.items():
        access = ACCESS[role]
        tables = {topic.name for topic in access.writes if topic.compacted}
        assert {topic.name for topic in access.reads} == topics | tables
        assert access.group == f"streamco-{role}"
    assert set(STREAM_ROLES) <= ACCESS.keys()


def test_the_groups_that_the_sealer_waits_for_may_read_those_topics() -> None:
    groups = {access.group: access for access in ACCESS.values() if access.group is not None}
    for topic, readers in SEALED.items():
        assert all(topic in groups[group].reads for group in readers)


def test_every_topic_is_written_and_read_by_somebody() -> None:
    for topic in TOPICS:
        assert any(topic in access.writes for access in ACCESS.values())
        assert any(topic in access.reads for access in ACCESS.values())


def test_only_the_auditor_deletes_and_knows_all_groups_and_it_writes_nothing() -> None:
    assert [who for who, access in ACCESS.items() if access.deletes or access.knows_groups] == ["auditor"]
    assert ACCESS["auditor"].writes == ()


def test_bills_are_written_by_billing_and_by_who_sends_letters_again() -> None:
    writers = {grant.user for grant in all_grants() if grant[1:] == ("topic", "rated-legs", "write")}
    assert writers == {"streamco-billing", "streamco-cli"}


@pytest.mark.parametrize("who", sorted(ACCESS))
def test_each_is_a_user_of_its_own_and_none_is_the_owner(who: str) -> None:
    assert {grant.user for grant in grants_of(who)} == {user_of(who)}
    assert user_of(who) != user_of(OWNER)
    assert password_setting(who) == f"kafka_{who}_password"
    names = {grant.name for grant in grants_of(who) if grant.resource == "topic"}
    assert names <= {topic.name for topic in TOPICS}
    assert EVERY not in names
