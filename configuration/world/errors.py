"""The one exception of this room: everything that is wrong with an input, in the user's words."""

from collections.abc import Sequence


class WorldError(Exception):
    """`messages`: one per fault, each with the field or row, the value and the rule. Nothing was changed."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = tuple(messages)
