"""Addresses in settings: texts that are checked, and kept as one writes them. An error names what they must be."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator


def _address_of(version: int, text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(f"must be an IPv{version} address") from error
    if address.version != version:
        raise ValueError(f"must be an IPv{version} address, is IPv{address.version}")
    return str(address)


def _network(text: str) -> str:
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError as error:
        raise ValueError(f"must be an IPv4 address or network: {error}") from error


IPv4 = Annotated[str, AfterValidator(lambda text: _address_of(4, text))]
NoOrIPv4 = Annotated[str, AfterValidator(lambda text: text and _address_of(4, text))]
NoOrIPv6 = Annotated[str, AfterValidator(lambda text: text and _address_of(6, text))]
IPv4Networks = tuple[Annotated[str, AfterValidator(_network)], ...]
