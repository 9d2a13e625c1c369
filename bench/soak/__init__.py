"""`make soak CALLS=2000`: calls that try to break the line, on the real Asterisk through the whole product, and a count
of what was on the wire against what was billed.

    calls.py      which calls: kinds of vendors and callers, drawn by a seed
    scenarios.py  what SIPp plays for the kinds that configuration/asterisk/scenarios/ does not have
    capture.py    every SIP packet of the node on loopback, with the kernel's timestamps
    wire.py       packets become legs: invited, answered, ended. Pure
    matching.py   legs on the wire against CDRs, one by one by SIP Call-ID. Pure
    players.py    SIPp's processes, and who hangs up channels in mid-call through AMI
    product.py    the product as a user starts it, with the parties of these calls
    __main__.py   the run, and the one line of JSON

The witness is outside of our software: what counts as an answer is a 200 to an INVITE in a packet, what counts as talk
is the time from it to the first BYE. So nothing that the dialplan, the journal or a worker loses can be lost here, too.
"""
