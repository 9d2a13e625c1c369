"""What the scenarios are put together from: steps, and what is in both sides' messages."""

from typing import Final

SDP: Final = """Content-Type: application/sdp
Content-Length: [len]

v=0
o=streamco 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8 0
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000"""
EMPTY: Final = "Content-Length: 0\n"


def send(text: str, **attributes: str) -> str:
    """A step that sends this message."""
    marks = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<send{marks}><![CDATA[\n{text}\n]]></send>"


def recv(**attributes: str) -> str:
    """A step that waits for a request or a response."""
    return "<recv" + "".join(f' {name}="{value}"' for name, value in attributes.items()) + "/>"


def scenario(name: str, *steps: str) -> str:
    """A whole scenario."""
    body = "\n".join(steps)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{name}">\n{body}\n</scenario>\n'


def reply(status: str, *extra: str, body: str = EMPTY, tag: bool = True) -> str:
    """A response to what was received last. `tag`: is our own put to To?"""
    to = "[last_To:];tag=[pid]V[call_number]" if tag else "[last_To:]"
    head = [f"SIP/2.0 {status}", "[last_Via:]", "[last_From:]", to, "[last_Call-ID:]", "[last_CSeq:]"]
    return "\n".join([*head, "Contact: <sip:[local_ip]:[local_port]>", *extra, body])
