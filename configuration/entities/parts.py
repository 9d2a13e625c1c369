"""What the models of a world are made of: texts, numbers and names, each refused with its rule."""

import ipaddress
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from tariffs.codecs import CODECS


def as_text(value: Any) -> Any:
    """What stands unquoted in YAML as a whole number is text all the same."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _whole(value: Any) -> Any:
    """True is not 1 here."""
    if isinstance(value, bool | float):
        raise ValueError("must be a whole number")
    return value


def exact(value: Any) -> Any:
    """Money is written as a decimal; a float has lost its exactness already."""
    if isinstance(value, bool | float):
        raise ValueError("must be a decimal number")
    return value


def _address(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be an IP address, as text")
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"must be an IP address or a network (name servers are not asked): {error}") from error
    if network.num_addresses == 1:
        return str(network.network_address)
    return str(network)


def _time_zone(value: Any) -> Any:
    if value not in available_timezones():
        raise ValueError("must be a time zone of the IANA database, as Europe/Berlin")
    return value


Name = Annotated[str, BeforeValidator(as_text), StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,64}$")]
PeerName = Annotated[str, BeforeValidator(as_text), StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Endpoint = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
NodeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,15}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Host = Annotated[str, BeforeValidator(_address)]
TechPrefix = Annotated[str, BeforeValidator(as_text), StringConstraints(pattern=r"^[0-9*#]{0,8}$")]
Notation = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}/[0-9]{1,4}(/[0-9]{1,4})?$")]
Whole = Annotated[int, BeforeValidator(_whole)]
TimeZone = Annotated[str, StringConstraints(max_length=64), BeforeValidator(_time_zone)]
Amount = Annotated[Decimal, BeforeValidator(exact), Field(ge=0, max_digits=18, decimal_places=6)]
Margin = Annotated[Decimal, BeforeValidator(exact), Field(ge=-1000, le=1000, max_digits=12, decimal_places=8)]
_CODEC = f"({'|'.join(CODECS)})"
Codecs = Annotated[str, StringConstraints(pattern=rf"^{_CODEC}(,{_CODEC})*$")]


class Part(BaseModel):
    """A part of a world: frozen, and a name that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)
