"""SIPp's log of short messages (-trace_shortmsg), read as the messages that it sent and received. Pure.

A line has seven columns: date, time, unix seconds, S or R, Call-ID, `CSeq:1 INVITE`, and the message's first line. Its
times are SIPp's own, taken when it comes to a message: later than the packet's where the machine is busy.
"""

from typing import Final

from bench.soak.wire import Address, Message

_COLUMNS: Final = 7


def read_log(text: str, player: Address, node: Address) -> list[Message]:
    """The messages of one process of SIPp, which listens at `player`. A line that is cut off is left out."""
    found = []
    for line in text.splitlines():
        columns = line.split("\t")
        if len(columns) != _COLUMNS:
            continue
        _, _, seconds, direction, call_id, sequence, first = columns
        source, target = (player, node) if direction == "S" else (node, player)
        at_us = round(float(seconds) * 1_000_000)
        words = first.split(" ")
        if words[0] == "SIP/2.0":
            found.append(Message(at_us, source, target, call_id, sequence.split(" ")[-1], int(words[1]), ""))
        elif len(words) == 3:
            number = words[1].partition(":")[2].partition("@")[0]
            found.append(Message(at_us, source, target, call_id, words[0], 0, number))
    return found
