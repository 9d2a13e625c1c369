"""A node's configuration files as texts: the shipped files with what is known of the node and its peers. Pure."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from configuration.settings import NodeSettings
from schemas.agi_digest import KEY_FILE
from tariffs.codecs import END_TO_END, is_mixed, read_codecs

_ANY: Final = "0.0.0.0"  # noqa: S104 - what is looked for, nothing is bound here
_NAME: Final = re.compile(r"@([A-Z_]+)@")
# Each probed vendor is asked so often, and more seldom where the node would send more than the second per second.
PROBE_SECONDS: Final = 10
PROBES_PER_SECOND: Final = 20
_FIRST_PROBES_SECONDS: Final = 2
_SAFE: Final = re.compile(r"[\x21-\x3a\x3c-\x7e]*")  # printable ASCII without space and `;`, which begins a comment

_ARGUMENT: Final = re.compile(r"""[^,(){}\[\]$"'\\]*""")  # of a dialplan function


class RenderError(ValueError):
    """A value that cannot stand in Asterisk's files: names the field, the value and the rule."""


@dataclass(frozen=True)
class SipPeer:
    """A peer as PJSIP needs it. `host` is an address or a network (originators) with its port (terminators)."""

    name: str
    role: Literal["originator", "terminator"]
    endpoint: str
    host: str
    port: int
    codecs: str
    trusted: bool = False
    probe: bool = False  # whether OPTIONS are sent to a terminator
    rtp_timeout_seconds: int = 120
    rtp_timeout_hold_seconds: int = 1800


@dataclass(frozen=True)
class Places:
    """Where things are on the node's machine."""

    etc: str
    run: str
    modules: str
    data: str
    sbin: str


def render(settings: NodeSettings, peers: Sequence[SipPeer], places: Places, epoch: int) -> dict[str, str]:
    """Every file by its name. Raises RenderError."""
    key_file = f"{places.etc}/{KEY_FILE}"
    values = {
        "NODE": settings.node,
        "EPOCH": str(epoch),
        "ROUTER": settings.router,
        "KEY_FILE": key_file,
        "ETC": places.etc,
        "RUN": places.run,
        "MODULES": places.modules,
        "DATA": places.data,
        "SBIN": places.sbin,
        "AMI_HOST": settings.ami_host,
        "AMI_PORT": str(settings.ami_port),
        "AMI_USER": settings.ami_user,
        "AMI_SECRET": settings.ami_secret.get_secret_value(),
        "AMI_PERMIT": "\n".join(f"permit={network}" for network in settings.ami_permit),
        **_transports(settings),
        "RTP_FIRST": str(settings.rtp_port_first),
        "RTP_LAST": str(settings.rtp_port_last),
        "HEP_ENABLED": "yes" if settings.hep_port else "no",
        "HEP_PORT": str(settings.hep_port),
        "HEP_SECRET": settings.hep_secret.get_secret_value(),
        **_of_peers(peers),
    }
    for name, value in values.items():
        if (
            name not in ("PEERS", "AMI_PERMIT", "AMI_SECRET", "HEP_SECRET", "NAT", "SIP_SIX")
            and _SAFE.fullmatch(value) is None
        ):
            raise RenderError(f"{name} {value!r}: must be printable ASCII without spaces and semicolons")
    for name in ("AMI_SECRET", "HEP_SECRET"):
        if _SAFE.fullmatch(values[name]) is None:
            raise RenderError(f"{name}: must be printable ASCII without spaces and semicolons")
    if _ARGUMENT.fullmatch(key_file) is None:
        raise RenderError(f"{key_file!r}: must have nothing in it that ends an argument: , ( ) {{ }} [ ] $ \" ' \\")
    texts = {name: _fill(text, values) for name, text in _shipped().items()}
    return texts | {KEY_FILE: settings.agi_key.get_secret_value()}


def pjsip_file(settings: NodeSettings, peers: Sequence[SipPeer]) -> str:
    """pjsip.conf alone: what changes with the world."""
    values = {**_transports(settings), **_of_peers(peers)}
    return _fill(_shipped()["pjsip.conf"], values)


def _transports(settings: NodeSettings) -> dict[str, str]:
    nat = [
        f"{name}={address}"
        for name, address in (
            ("external_signaling_address", settings.external_signaling_address),
            ("external_media_address", settings.external_media_address),
        )
        if address
    ]
    # Asterisk replaces no address of ours in an SDP that is not local itself.
    own = [f"{settings.sip_host}/32"] if settings.local_networks and settings.sip_host != _ANY else []
    nat += [f"local_net={network}" for network in (*settings.local_networks, *own)]
    ipv6 = f"[udp6]\ntype=transport\nprotocol=udp\nbind=[{settings.sip_host_ipv6}]:{settings.sip_port}\n"
    return {
        "SIP_HOST": settings.sip_host,
        "SIP_PORT": str(settings.sip_port),
        "NAT": "\n".join(nat),
        "SIP_SIX": ipv6 if settings.sip_host_ipv6 else "",
    }


@cache
def _shipped() -> dict[str, str]:
    folder = files("configuration.asterisk") / "files"
    return {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith(".conf")}


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _NAME.sub(lambda found: values[found[1]], text)


def _of_peers(peers: Sequence[SipPeer]) -> dict[str, str]:
    """The peers' own part of pjsip.conf, and over how many seconds the first probes are spread by chance."""
    probed = sum(peer.probe for peer in peers)
    least_seconds = -(-probed // PROBES_PER_SECOND)
    every_seconds = max(PROBE_SECONDS, least_seconds)
    return {
        "PEERS": "\n".join(_peer(peer, every_seconds) for peer in peers),
        "FIRST_PROBES_SECONDS": str(max(_FIRST_PROBES_SECONDS, least_seconds)),
    }


def _peer(peer: SipPeer, probe_seconds: int) -> str:
    for field in (peer.endpoint, peer.host, peer.codecs):
        if _SAFE.fullmatch(field) is None:
            raise RenderError(f"peer {peer.name}: {field!r}: must be printable ASCII without spaces and semicolons")
    ipv6 = ipaddress.ip_network(peer.host).version == 6
    codecs = read_codecs(peer.codecs)
    # So that either of the kinds of codecs that a call may be of is one of the channel's own (tariffs/codecs.py).
    mixed = "asymmetric_rtp_codec=yes\n" if peer.role == "originator" and is_mixed(codecs) else ""
    if peer.role == "terminator":  # its channel begins with the first: as a rule it ends up with a translated one
        codecs = tuple(sorted(codecs, key=lambda codec: codec in END_TO_END))
    media = f"allow={','.join(codecs)}\nrtp_timeout={peer.rtp_timeout_seconds}\n"
    media += f"rtp_timeout_hold={peer.rtp_timeout_hold_seconds}\n" + ("rtp_ipv6=yes\n" if ipv6 else "") + mixed
    if peer.role == "originator":
        return (
            f"[{peer.endpoint}](originator)\n{media}\n"
            f"[{_identify_id(peer)}]\ntype=identify\nendpoint={peer.endpoint}\nmatch={peer.host}\n"
        )
    host = f"[{peer.host}]" if ipv6 else peer.host
    templates = "terminator,trusted" if peer.trusted else "terminator"
    return (
        f"[{peer.endpoint}]({templates})\n{media}aors={peer.endpoint}\n\n"
        f"[{peer.endpoint}]\ntype=aor\ncontact=sip:{host}:{peer.port}\n"
        f"qualify_frequency={probe_seconds if peer.probe else 0}\nqualify_timeout=3.0\n"
    )


def _identify_id(peer: SipPeer) -> str:
    """Asterisk takes the first `identify` that matches, in the order of their ids: so the longest network is first.

    It begins with how many bits of the address are free: 000 for one address, 032 for all of IPv4.
    """
    network = ipaddress.ip_network(peer.host)
    return f"{network.max_prefixlen - network.prefixlen:03d}-{peer.endpoint}"
