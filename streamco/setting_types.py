"""What settings are made of: the prefix of their names, and types that several of them have."""

from typing import Annotated, Final

from pydantic import Field, SecretStr

PREFIX: Final = "STREAMCO_"
Port = Annotated[int, Field(ge=1025, le=32_767)]
Secret = Annotated[SecretStr, Field(min_length=8)]
