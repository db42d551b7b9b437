"""What the lab's PPP client asks for and agrees to: the options of LCP and IPCP."""

from typing import TYPE_CHECKING, Final

from l2tpns_core.lab import frames
from l2tpns_core.lab.frames import Options

if TYPE_CHECKING:
    from l2tpns_core.lab.ppp import PppClient

AUTH_PAP: Final = b"\xc0\x23"
AUTH_CHAP_MD5: Final = b"\xc2\x23\x05"
OPT_MRU, OPT_ACCM, OPT_AUTH, OPT_MAGIC, OPT_PFC, OPT_ACFC = 1, 2, 3, 5, 7, 8
OPT_ENDPOINT = 19
OPT_ADDRESS, OPT_DNS1, OPT_DNS2 = 3, 129, 131
NO_ADDRESS: Final = bytes(4)


class LcpPolicy:
    """LCP's options."""

    __slots__ = ("ppp",)

    def __init__(self, ppp: "PppClient") -> None:
        self.ppp = ppp

    def wanted(self) -> Options:
        ppp = self.ppp
        options: Options = []
        if ppp.mru is not None:
            options.append((OPT_MRU, ppp.mru.to_bytes(2, "big")))
        options.append((OPT_ACCM, bytes(4)))
        options.append((OPT_MAGIC, ppp.magic))
        if ppp.compress:
            options += [(OPT_PFC, b""), (OPT_ACFC, b"")]
        return [option for option in options if option[0] not in ppp.lcp_rejected]

    def judge(self, options: Options) -> tuple[int, Options]:
        ppp = self.ppp
        known = {OPT_MRU: 2, OPT_ACCM: 4, OPT_MAGIC: 4, OPT_PFC: 0, OPT_ACFC: 0}
        rejected = [
            (kind, value)
            for kind, value in options
            if kind not in (OPT_AUTH, OPT_ENDPOINT) and len(value) != known.get(kind, -1)
        ]
        if rejected:
            return frames.CONFIGURE_REJECT, rejected
        asked = dict(options)
        if asked.get(OPT_MAGIC) == ppp.magic:
            return frames.CONFIGURE_NAK, [(OPT_MAGIC, ppp.random(4))]
        if asked.get(OPT_MAGIC) == bytes(4):
            ppp.owner.ppp_fault("LCP magic number 0 in a Configure-Request")
        auth = asked.get(OPT_AUTH, b"")
        accepted = [{"pap": AUTH_PAP, "chap": AUTH_CHAP_MD5}[name] for name in ppp.options.auth]
        if auth and auth not in accepted:
            return frames.CONFIGURE_NAK, [(OPT_AUTH, accepted[0])]
        ppp.auth_protocol = auth
        ppp.peer_magic = asked.get(OPT_MAGIC, bytes(4))
        ppp.peer_mru = int.from_bytes(asked.get(OPT_MRU, b"\x05\xdc"), "big")
        ppp.peer_takes_pfc = OPT_PFC in asked
        ppp.peer_takes_acfc = OPT_ACFC in asked
        return frames.CONFIGURE_ACK, options

    def take_nak(self, options: Options) -> None:
        for kind, value in options:
            if kind == OPT_MRU and len(value) == 2:
                self.ppp.mru = int.from_bytes(value, "big")
            elif kind == OPT_MAGIC:
                self.ppp.magic = self.ppp.random(4)

    def take_reject(self, options: Options) -> None:
        self.ppp.lcp_rejected |= {kind for kind, _ in options}


class IpcpPolicy:
    """IPCP's options."""

    __slots__ = ("ppp",)

    def __init__(self, ppp: "PppClient") -> None:
        self.ppp = ppp

    def wanted(self) -> Options:
        return list(self.ppp.ipcp_wanted.items())

    def judge(self, options: Options) -> tuple[int, Options]:
        rejected = [(kind, value) for kind, value in options if kind != OPT_ADDRESS]
        if rejected:
            return frames.CONFIGURE_REJECT, rejected
        address = dict(options).get(OPT_ADDRESS, b"")
        if len(address) != 4 or address == NO_ADDRESS:
            self.ppp.owner.ppp_fault(f"the LNS's own IPCP address is {address.hex() or 'missing'}")
        self.ppp.peer_ip = int.from_bytes(address[:4], "big")
        return frames.CONFIGURE_ACK, options

    def take_nak(self, options: Options) -> None:
        for kind, value in options:
            if kind not in self.ppp.ipcp_wanted:
                self.ppp.owner.ppp_fault(
                    f"IPCP Configure-Nak of option {kind} that we did not send"
                )
            elif len(value) != 4 or (kind == OPT_ADDRESS and value == NO_ADDRESS):
                self.ppp.owner.ppp_fault(
                    f"IPCP Configure-Nak offers {value.hex()} in option {kind}"
                )
            else:
                self.ppp.ipcp_wanted[kind] = value

    def take_reject(self, options: Options) -> None:
        for kind, _ in options:
            self.ppp.ipcp_wanted.pop(kind, None)
        if OPT_ADDRESS not in self.ppp.ipcp_wanted:
            self.ppp.owner.ppp_fault("IPCP Configure-Reject of the address option")
