"""One form of a login and of an address: what the password is checked for and what is limited is the same. Pure."""

import ipaddress
import re
import unicodedata
from typing import Final

LOGIN_PATTERN: Final = "[a-z0-9][a-z0-9._@-]{0,63}"
LOGIN: Final = re.compile(LOGIN_PATTERN, re.ASCII)
LOGIN_RULE: Final = "must be 1 to 64 of a-z, 0-9, '.', '_', '@', '-', the first a letter or digit"
UNKNOWN_ADDRESS: Final = "unknown"
_LONGEST_LOGIN: Final = 256  # what is longer has another form that is too long
_PORT: Final = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?")
_NETWORK_BITS: Final = 64  # of IPv6: so much belongs to one customer of a provider


def normal_login(text: str) -> str | None:
    """The login that a text means, as table and limiter have it; None if it can be nobody's.

    Blanks around it, case and Unicode's other forms of a letter (full width, mathematical) make no difference.
    """
    if len(text) > _LONGEST_LOGIN:
        return None
    # Twice: what casefolding makes may have another form again.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()
    return folded if LOGIN.fullmatch(folded) else None


def normal_address(text: str | None) -> str:
    """The address that tries are counted for: IPv4 as it is, of IPv6 its network; UNKNOWN_ADDRESS for what is none.

    Some proxies write a port behind it, of which each connection has another.
    """
    found = _PORT.fullmatch(text or "")
    bare = text or "" if found is None else found["six"] or found["four"]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return UNKNOWN_ADDRESS
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), _NETWORK_BITS), strict=False))
        address = address.ipv4_mapped
    return str(address)
