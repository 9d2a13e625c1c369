"""The settings of the configuration room: the database that holds what it configures, and the node that it runs."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from runtime.connections import Frozen, Postgres
from schemas.addresses import IPv4, IPv4Networks, NoOrIPv4, NoOrIPv6
from schemas.agi_digest import read_node_key

Port = Annotated[int, Field(ge=1025, le=32_767)]
Host = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z.:-]{1,64}$")]
NodeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,15}$")]


class ConfigurationSettings(Frozen):
    """Where the configuration is."""

    postgres: Postgres


class NodeSettings(Frozen):
    """One Asterisk. `directory` is the node's: etc, journal, epoch, run.

    `router`: host:port of the FastAGI router, which knows the node's sessions by `agi_key` (schemas/agi_digest.py).
    `ami_permit`: the networks from which the agent may come.
    `sip_host`, `sip_port`: where SIP listens (UDP), with `sip_host_ipv6` also there; RTP takes ports from
    `rtp_port_first` to `rtp_port_last`, four for each call at a time: without a free one Asterisk answers 488, and the
    call never was. Behind a NAT: peers outside `local_networks` are told the external addresses, in SIP's headers and
    in SDP. The node's own address is local, too: without that Asterisk leaves its SDP as it is.
    `hep_port`: where the agent takes copies of SIP messages, on loopback; 0: none are sent. They bring
    `hep_secret`.
    `cache`: where Asterisk is fetched to when the machine has none.
    """

    node: NodeName
    directory: Path
    postgres: Postgres
    router: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z.:-]{1,64}:\d{1,5}$")] = "127.0.0.1:14573"
    agi_key: SecretStr
    ami_host: Host = "127.0.0.1"
    ami_port: Port = 15038
    ami_user: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = "agent"
    ami_secret: SecretStr
    ami_permit: tuple[str, ...] = ("127.0.0.0/255.0.0.0",)
    sip_host: IPv4 = "127.0.0.1"
    sip_host_ipv6: NoOrIPv6 = ""
    sip_port: Port = 15060
    external_signaling_address: NoOrIPv4 = ""
    external_media_address: NoOrIPv4 = ""
    local_networks: IPv4Networks = ()
    rtp_port_first: Port = 20000
    rtp_port_last: Port = 29999
    hep_port: Annotated[int, Field(ge=0, le=32_767)] = 0
    hep_secret: SecretStr = SecretStr("")
    cache: Path
    beat: Path | None = None

    @field_validator("agi_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        read_node_key(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _networks_are_local_to_something(self) -> Self:
        if bool(self.local_networks) != bool(self.external_signaling_address or self.external_media_address):
            networks = ",".join(self.local_networks)
            raise ValueError(f"local_networks {networks!r}: must be there with an external address, and only then")
        return self


class TrickleSettings(Frozen):
    """Real SIP calls from SIPp, as the seeded world names its peers, against one node.

    `directory`: scenarios and SIPp's last words. `vendor_port`: where the vendors listen, as their peers say.
    """

    directory: Path
    node_host: Host = "127.0.0.1"
    node_port: Port = 15060
    vendor_port: Port = 5060
    calls_per_second: Annotated[float, Field(gt=0, le=10)] = 1.5
    cache: Path
    beat: Path | None = None
