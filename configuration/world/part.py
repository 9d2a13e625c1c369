"""What all parts of a world's model are made of."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints


def text_of(value: Any) -> Any:
    """What stands unquoted in YAML as a whole number is text all the same."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(text_of), StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,64}$")]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]


class Part(BaseModel):
    """A part of a world: frozen, and a name that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)
