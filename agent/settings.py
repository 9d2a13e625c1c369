"""What a node agent is told. Built once by the command line."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from runtime.connections import Frozen, Kafka, Postgres
from runtime.disk import DEFAULT_RESERVE_BYTES


class AgentSettings(Frozen):
    """The agent of one node. Times in seconds; every one of them is a bound.

    `directory` is the node's: journal/Master.csv*, epoch, and the agent's own agent.json and agent.lock.
    `disk_reserve_bytes`: with less than that free on the journal's disk, the node's new calls are refused.
    `batch_bytes`: of the journal, that are on their way to Kafka at once.
    `settle_seconds`: a leg of the journal is to be in the ledger so long after it was written.
    `rotate_bytes`, `rotate_seconds`: the journal's file gets another name at either; a file that is sealed and posted
    is deleted `keep_journal_seconds` after its seal.
    `hold_margin_seconds`: how much further than the talk so far a hold is to reach. More than two heartbeats, so that
    the end of the money is known before it comes, also where one status is late; `hold_seconds`: of talk that is held
    at once for a call without a hold. `sweep_seconds`: between two sweeps; `gone_seconds`: how long a call must not
    have been listed before its hold may be swept.
    `ami_run_by`: the user of this machine whose Asterisk it has to be that is told the secret; None: anybody's.
    `hep_host`, `hep_port`: where copies of the node's SIP messages are taken; port 0: they are not; `hep_secret`: what
    they have to bring. `sip_hosts`, `sip_port`: where the node's SIP listens.
    `wire_seconds`: how long a line that closes a leg waits for the leg's packets.
    `probes_seconds`: between two looks at which vendors answer OPTIONS.
    `limits_seconds`: between two rounds that renew the node's shares of limits; what is asked in one has
    `limits_answer_seconds`; shares hold for `limits_lease_seconds`, and are others' when nobody has heard of the node
    for `limits_silent_seconds`.
    """

    node: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,15}$")]
    directory: Path
    kafka: Kafka
    postgres: Postgres
    ami_host: str = "127.0.0.1"
    ami_port: Annotated[int, Field(ge=1, le=65_535)] = 15038
    ami_user: str = "agent"
    ami_secret: SecretStr
    ami_run_by: Annotated[int, Field(ge=0)] | None = None
    beat: Path | None = None
    disk_reserve_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 50)] = DEFAULT_RESERVE_BYTES
    poll_seconds: Annotated[float, Field(gt=0, le=5)] = 0.05
    batch_bytes: Annotated[int, Field(ge=1 << 16, le=8 << 20)] = 1 << 20
    send_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    retry_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    heartbeat_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    ami_answer_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    ami_retry_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    ami_retry_limit_seconds: Annotated[float, Field(gt=0, le=300)] = 3.0
    postgres_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    hold_margin_seconds: Annotated[int, Field(ge=1, le=600)] = 20
    audit_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    settle_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    rotate_bytes: Annotated[int, Field(ge=1 << 10, le=1 << 40)] = 512 << 20
    rotate_seconds: Annotated[float, Field(gt=0, le=366 * 86_400)] = 86_400.0
    keep_journal_seconds: Annotated[float, Field(ge=0, le=3660 * 86_400)] = 7 * 86_400.0
    hold_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    sweep_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    limits_seconds: Annotated[float, Field(gt=0, le=5)] = 1.0
    limits_answer_seconds: Annotated[float, Field(gt=0, le=5)] = 2.0
    limits_lease_seconds: Annotated[float, Field(gt=0, le=60)] = 6.0
    limits_silent_seconds: Annotated[float, Field(gt=0, le=60)] = 9.0
    hep_host: str = "127.0.0.1"
    hep_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    hep_secret: SecretStr = SecretStr("")
    sip_hosts: tuple[str, ...] = ("127.0.0.1",)
    sip_port: Annotated[int, Field(ge=1, le=65_535)] = 15060
    wire_seconds: Annotated[float, Field(ge=0, le=2)] = 0.4
    probes_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    gone_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
