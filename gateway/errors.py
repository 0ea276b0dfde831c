"""What the gateway itself refuses. A code never changes its meaning; frontends/status.py translates it per protocol.

GatewayError
├── Malformed           the bytes are no request of this protocol
├── TooLarge            a limit on sizes was passed
├── UnsupportedEncoding the body is packed in a way we do not unpack
├── UnknownModel        no route, version or arm of that name
├── OverrideRefused     the caller may not force an arm
├── NotImplementedHere  a part of the protocol that this server does not speak
├── MethodNotAllowed    the path is known, the verb is not
└── Draining            the process is about to stop
"""

from typing import ClassVar


class GatewayError(Exception):
    """A request that no model was asked about."""

    code: ClassVar[str]


class Malformed(GatewayError):
    code = "malformed"


class TooLarge(GatewayError):
    code = "too_large"


class UnsupportedEncoding(GatewayError):
    code = "unsupported_encoding"


class UnknownModel(GatewayError):
    code = "not_found"


class OverrideRefused(GatewayError):
    code = "forbidden"


class NotImplementedHere(GatewayError):
    code = "not_implemented"


class MethodNotAllowed(GatewayError):
    """`verbs` are those that the path does take."""

    code = "method_not_allowed"

    def __init__(self, verbs: tuple[str, ...]) -> None:
        super().__init__(f"this path takes {', '.join(verbs)}")
        self.verbs = verbs


class Draining(GatewayError):
    code = "draining"
