"""The node agent: one process beside each Asterisk (or simulated node), between its journal and Kafka.

    main, settings     starts all of it; what the agent is told
    relay              the thread that reads lines, sends, waits for the acknowledgements, stores the marks
    outbox, sender     pure: journal lines and the agent's own events → Kafka messages; what sends them
    state_file         the marks on disk, and the lock that keeps a second agent away
    clock              the wall clock against the monotonic one
    watch              AMI: reconnects, listens, asks for the status every few seconds, hangs up whose money has ended
    counters, postgres counters and holds as the calls really are
    degraded           what it cannot do just now, and what follows

Its folders:

    journal/    files: whole lines from the marks on; marks: pure, how far each file has been read; open_calls: pure,
                what was opened and never closed; ends: calls' ends, for the sweep of holds; count, hours, rows, seal,
                answers, audit: what is counted of it, and when a file may be deleted
    ami/        client: a session with a time limit on everything; events: pure, what the manager says → events;
                invites, invites_tail: what became of INVITEs; probes, reach: which vendors answer
    wire/       hep, copies: Asterisk's copies of SIP messages; sip_head, legs, words: the legs by their packets;
                refused, refusals: what was refused before the dialplan
    restart/    restart: a new start of Asterisk told, and the calls that died with the one before closed; estimates:
                pure, their closings; orphans: calls that died before any line; last_heartbeat: which calls were seen
    credit/     cuts: pure, which calls are to be cut, and when
    limits/     shares: pure, the node's shares of vendors' limits; limits: keeps them, a round a second
"""
