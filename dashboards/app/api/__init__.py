"""The REST API, served beside the pages: bearer tokens alone, JSON, errors as problem details (RFC 9457).

door.py      who asks, and how often he may
problems.py  every error in one form
routes.py    what can be asked, with the OpenAPI document made from the same code
"""

PREFIX = "/api/"
"""Every path of the API; whoever adds one below it has the door in front of it."""
