"""Who acts by the request at hand, as it is written beside the act."""

from typing import Literal

import flask

from dashboards.access.logins import normal_address
from runtime.user_acts import Person


def person_of_request(via: Literal["page", "api"]) -> Person:
    """The user that the door has let in, and from where."""
    return Person(flask.g.user.login, via, normal_address(flask.request.remote_addr))
