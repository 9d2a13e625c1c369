"""Codes of the number plan as a configuration document has them: the digits that numbers begin with."""

from typing import Annotated

from pydantic import BeforeValidator, StringConstraints

from configuration.entities.parts import as_text

Code = Annotated[str, BeforeValidator(as_text), StringConstraints(pattern=r"^[0-9]{1,15}$")]
"""1 to 15 digits."""
CodeOrAny = Annotated[str, BeforeValidator(as_text), StringConstraints(pattern=r"^[0-9]{0,15}$")]
"""A code, or "" for every one."""
