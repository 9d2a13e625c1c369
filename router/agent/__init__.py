"""The node agent: one process beside each Asterisk (or simulated node), between its journal and Kafka.

    settings       what the agent is told
    marks          pure: how far each journal file has been read, and by what a file is known again
    journal_files  reads whole lines from the journal's files, from the marks on
    outbox         pure: journal lines and the agent's own events → Kafka messages
    state_file     the marks on disk, and the lock that keeps a second agent away
    relay          the thread that does it: read, send, wait for the acknowledgements, store the marks
    restart        a new start of Asterisk: told, and the calls that died with the one before closed
    open_calls     pure: the calls that the journal opened and never closed
    orphans        calls that died before any line: closed from their hold or decision
    estimates      pure: the closings of such a call
    last_heartbeat which calls were last seen, on disk for each start of Asterisk
    ami_events     pure: what Asterisk's manager says → events, ended calls, the calls that are really there
    ami_client     a session with Asterisk's manager, with a time limit on everything
    cuts           pure: which calls are to be cut, and when
    watch          AMI: reconnects, listens, asks for the status every few seconds, hangs up whose money has ended
    journal_ends   looks for calls' ends in the journal, for the sweep of holds
    shares         pure: the node's shares of vendors' limits, between Asterisk's variables and PostgreSQL's rows
    limits         AMI and PostgreSQL: keeps those shares, a round a second
    invites        pure: what became of INVITEs, and so how each vendor stands
    invites_tail   follows the journal for them
    probes         AMI: which vendors answer OPTIONS
    reach          PostgreSQL: which vendors this node reaches
    hep            pure: Asterisk's copies of SIP messages
    refused        pure: which of them are refusals before the dialplan, and how many of them are recorded
    refusals       takes the copies, and records them in PostgreSQL
    counters       PostgreSQL: counters and holds as the calls really are
    main           starts all of it

The journal is the bill, so nothing here may keep it from flowing: AMI and PostgreSQL may be away, the tail goes on.
"""
