"""What plugins are given: one class for each event, with the manual's field names.

`t` and `s` are our tunnel id and session id; `session` is the session itself and `tunnel` its
tunnel, for what the ids alone do not tell. Both may be read freely.
CHANGEABLE names the fields that a plugin may set, with the type that they must keep: a hook that
leaves another type there has failed, and the field gets its old value back. Setting any other field
has no effect.
"""

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:  # a plugin's tests need neither the protocols nor RADIUS
    from l2tpns_core.l2tp.tunnel import Tunnel
    from l2tpns_core.radius.model import AccessReply
    from l2tpns_core.session import Session


class PluginResult(enum.IntEnum):
    """What a hook returns, with the numbers of the C API; None is the same as OK."""

    ERROR = 0
    """This plugin failed: no further plugin is asked, and the event has failed."""
    OK = 1
    """Go on with the next plugin."""
    STOP = 2
    """It worked, and no further plugin is asked."""
    NOTMASTER = 3
    """No further plugin is asked: only the master of the cluster can do this."""

    @property
    def succeeded(self) -> bool:
        """Whether the event ended well, that is by OK or STOP."""
        return self in (PluginResult.OK, PluginResult.STOP)


PLUGIN_RET_ERROR: Final = PluginResult.ERROR
PLUGIN_RET_OK: Final = PluginResult.OK
PLUGIN_RET_STOP: Final = PluginResult.STOP
PLUGIN_RET_NOTMASTER: Final = PluginResult.NOTMASTER


FieldTypes = dict[str, type]


class Param:
    """What the classes of all events have in common."""

    __slots__ = ()
    CHANGEABLE: ClassVar[FieldTypes] = {}


class SessionParam(Param):
    """What the classes of events about a session have in common."""

    __slots__ = ()
    session: "Session"

    @property
    def tunnel(self) -> "Tunnel | None":
        """The tunnel of the session; None only in a test that made the session by hand."""
        return self.session.tunnel


@dataclass(slots=True)
class ParamPreAuth(SessionParam):
    """The client has sent its name and proof; the Access-Request is not sent yet."""

    CHANGEABLE: ClassVar[FieldTypes] = {
        "username": str,
        "password": bytes,
        "continue_auth": int,
    }

    t: int
    s: int
    session: "Session"
    username: str
    """What RADIUS is asked for. Octets that are not UTF-8 are surrogates, as in os.fsdecode()."""
    password: bytes = field(repr=False)
    """PAP: the password; a change is what RADIUS is sent. CHAP: the response, which may be read."""
    protocol: int
    """0xC023 for PAP, 0xC223 for CHAP of any kind."""
    continue_auth: int = 1
    """Set to 0 to refuse the login without asking RADIUS."""


@dataclass(slots=True)
class ParamPostAuth(SessionParam):
    """RADIUS has answered; the verdict and the attributes are not acted on yet."""

    CHANGEABLE: ClassVar[FieldTypes] = {"auth_allowed": int}

    t: int
    s: int
    session: "Session"
    username: str
    auth_allowed: int
    """1 when RADIUS accepts, 0 when it rejects. Set it to force the other."""
    protocol: int
    """0xC023 for PAP, 0xC223 for CHAP of any kind."""
    reply: "AccessReply"
    """The decoded reply. Its attributes may be changed: what they are after the event counts."""


@dataclass(slots=True)
class ParamPacketRx(SessionParam):
    """An IP packet has come from the subscriber."""

    CHANGEABLE: ClassVar[FieldTypes] = {"buf": bytes}

    t: int
    s: int
    session: "Session"
    buf: bytes
    """The IP packet. Set it to another to forward that in its place."""
    len: int
    """Bytes in `buf` as it came."""


@dataclass(slots=True)
class ParamPacketTx(SessionParam):
    """An IP packet is about to go to the subscriber."""

    CHANGEABLE: ClassVar[FieldTypes] = {"buf": bytes}

    t: int
    s: int
    session: "Session"
    buf: bytes
    """The IP packet. Set it to another to send that in its place."""
    len: int
    """Bytes in `buf` as it came."""


@dataclass(slots=True)
class ParamTimer(Param):
    """A second has passed."""

    time_now: int
    """Unix time."""


@dataclass(slots=True)
class ParamNewSession(SessionParam):
    """A session is set up. It forwards as soon as the event is over, and what is set on `session`
    in here counts from its first packet."""

    t: int
    s: int
    session: "Session"


@dataclass(slots=True)
class ParamKillSession(SessionParam):
    """A session is about to end; `session` still has all that it had. Once for each session."""

    t: int
    s: int
    session: "Session"


@dataclass(slots=True)
class ParamRadiusResponse(SessionParam):
    """One key=value pair of a Cisco-AVPair in an accepted RADIUS reply."""

    t: int
    s: int
    session: "Session"
    key: str
    value: str


@dataclass(slots=True)
class ParamRadiusReset(SessionParam):
    """A RADIUS server changes a session that is up: what earlier pairs have set is to be undone
    before the new ones come as radius_response."""

    t: int
    s: int
    session: "Session"


@dataclass(slots=True)
class ParamRadiusAccount(SessionParam):
    """An Accounting-Request about a session is being built."""

    CHANGEABLE: ClassVar[FieldTypes] = {"packet": list}

    t: int
    s: int
    session: "Session"
    packet: list[tuple[str, object]]
    """Append (attribute name of the dictionary, value) for each attribute to send as well."""


@dataclass(slots=True)
class ParamControl(Param):
    """A control request has come from nsctl."""

    CHANGEABLE: ClassVar[FieldTypes] = {
        "response": bytes,
        "response_length": int,
        "send_response": int,
    }

    buf: bytes
    """The request as it came."""
    l: int  # noqa: E741  (the manual's name)
    """Bytes in `buf`."""
    source_ip: str
    source_port: int
    type: int
    """What is asked for."""
    id: int
    """Number of the request; the answer carries it too."""
    data: bytes
    """What follows the header of the request."""
    data_length: int
    argc: int = 0
    argv: tuple[str, ...] = ()
    """The words of the command."""
    iam_master: int = 1
    """0 on a slave of a cluster, which returns PLUGIN_RET_NOTMASTER for what it may not do."""
    response: bytes = b""
    """The answer."""
    response_length: int = 0
    """How many bytes of `response` to send; 0 for all."""
    send_response: int = 0
    """Set to 1 to have `response` sent."""


@dataclass(slots=True)
class ParamBecomeMaster(Param):
    """This node has become the master of its cluster. The event has no fields."""


@dataclass(slots=True)
class ParamNewSessionMaster(SessionParam):
    """This node has become master: once for each session that is up, after become_master."""

    t: int
    s: int
    session: "Session"


@dataclass(slots=True)
class ParamSettingsChanged(Param):
    """plugins.toml was read again, and has something else for this plugin. Only the plugin that is
    concerned is told."""

    settings: object
    """The new settings, which `api.settings` has already."""
    previous: object
    """Those that were in force."""
