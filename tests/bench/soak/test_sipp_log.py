"""SIPp's own log as messages."""

from bench.soak.sipp_log import read_log
from bench.soak.wire import Message, legs_of

PLAYER, NODE = ("127.91.1.1", 6_000), ("127.0.0.1", 5_060)
TEXT = """\
2026-11-30\t01:28:26.449238\t1796002106.449238\tS\t1-7@127.91.1.1\tCSeq:1 INVITE\tINVITE sip:4477@127.0.0.1 SIP/2.0
2026-11-30\t01:28:26.459238\t1796002106.459238\tR\t1-7@127.91.1.1\tCSeq:1 INVITE\tSIP/2.0 100 Trying
2026-11-30\t01:28:26.949238\t1796002106.949238\tR\t1-7@127.91.1.1\tCSeq:1 INVITE\tSIP/2.0 200 OK
2026-11-30\t01:28:28.449238\t1796002108.449238\tS\t1-7@127.91.1.1\tCSeq:2 BYE\tBYE sip:4477@127.0.0.1 SIP/2.0
2026-11-30\t01:28:28.4492
"""


def test_lines_are_messages_from_and_to_the_player() -> None:
    found = read_log(TEXT, PLAYER, NODE)
    assert found[0] == Message(1796002106449238, PLAYER, NODE, "1-7@127.91.1.1", "INVITE", 0, "4477")
    assert found[1] == Message(1796002106459238, NODE, PLAYER, "1-7@127.91.1.1", "INVITE", 100, "")
    assert len(found) == 4
    (leg,) = legs_of(found, NODE).values()
    assert (leg.side, leg.final, leg.talk_ms, leg.ended_by) == ("customer", 200, 1_500, "peer")
