"""One PPP session of the real client: what it was given, what it can do, how it ends."""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from interop.namespaces import wait_for

if TYPE_CHECKING:
    from interop.realclient import RealClient

OVER = re.compile(r"Connection terminated|Modem hangup|Exit\.")
"""What pppd writes when it gives up."""
TUNNEL_OVER = re.compile(r"Maximum retries exceeded|[Cc]onnection (\d+ )?closed to")
"""What xl2tpd writes when there is nothing left for pppd to run on."""
DOWN_TIMEOUT_S = 10
QUIET_S = 0.3
PATIENCE_S = 2
"""How long the client waits for a server that may not be there."""
HANGUPS = {
    "ppp": "signal_pppd TERM {name}",  # LCP Terminate-Request, then CDN
    "call": "echo 'h {call}' > /run/{lac}.control",  # CDN
    "tunnel": "echo 'd {lac}' > /run/{lac}.control",  # StopCCN
    "kill": "signal_pppd KILL {name}",  # no word from PPP; xl2tpd notices and sends CDN
    "vanish": "kill_lac {lac}; signal_pppd KILL {name}",  # nobody is left to say anything
}
HANGUPS_TOLD = ("ppp", "call", "tunnel")
"""Those that pppd lives to write of."""


@dataclass(slots=True, frozen=True)
class Lac:
    """An xl2tpd of the guest, which holds one tunnel."""

    name: str
    log: Path
    port: int

    def text(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tunnel(self) -> tuple[int, int]:
        """The tunnel as (the client's id, the LNS's)."""
        return self._numbers("Connection established to")[0]

    def calls(self) -> list[tuple[int, int]]:
        """The calls so far as (the client's session id, the LNS's)."""
        return self._numbers("Call established with")

    def _numbers(self, title: str) -> list[tuple[int, int]]:
        found = re.findall(rf"{title} .*Local: (\d+), Remote: (\d+)", self.text())
        return [(int(ours), int(theirs)) for ours, theirs in found]


@dataclass(slots=True, frozen=True)
class Traffic:
    """IP bytes, as the client counts them."""

    sent: int
    received: int


class ClientSession:
    """A session that was dialled; see RealClient.dial()."""

    def __init__(self, client: "RealClient", name: str, lac: Lac) -> None:
        self.lac = lac
        self._client = client
        self._name = name
        self._directory = client.directory / "dials" / name
        self._call = len(lac.calls())
        self._opened_tunnel = lac.name == name

    def connect(self, timeout_s: float) -> None:
        """Place the call and wait until the session is up or over."""
        if self._opened_tunnel:
            self._client.run(f"start_lac {self._name}")
        target = self._name if self._opened_tunnel else str(self.lac.tunnel()[0])
        self._client.run(f"connect {self._name} {self.lac.name} {target}")
        try:
            wait_for(lambda: self.is_up() or self.is_over(), timeout_s, "end of a dial")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log}\n{self.lac.text()}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what became of it

    @property
    def log(self) -> str:
        """What pppd wrote, with every packet of its negotiation."""
        return self._read("log")

    def is_up(self) -> bool:
        """IPv4 came up and has not ended."""
        return (self._directory / "up").exists() and not self.is_over()

    def is_over(self) -> bool:
        return bool(OVER.search(self.log)) or bool(TUNNEL_OVER.search(self.lac.text()))

    @property
    def given(self) -> dict[str, str]:
        """What pppd's ip-up was told: interface, local, remote, dns1, dns2, mtu, …"""
        return _pairs(self._read("up"))

    @property
    def dns(self) -> list[str]:
        return [self.given[name] for name in ("dns1", "dns2") if self.given.get(name)]

    @property
    def dial_seconds(self) -> float:
        """From placing the call (SCCRQ for the first one of a tunnel) to its IPv4 address."""
        return float(self.given["time"]) - float(self._read("dialled"))

    @property
    def tunnel_id(self) -> int:
        """The LNS's number of the tunnel."""
        return self.lac.tunnel()[1]

    @property
    def session_id(self) -> int:
        """The LNS's number of the call."""
        return self.lac.calls()[self._call][1]

    def traffic(self) -> Traffic:
        """What has passed since the session came up. Its IPCP packets are not in it."""
        if self.is_over():
            match = re.search(r"Sent (\d+) bytes, received (\d+) bytes\.", self.log)
            if match is None:
                raise RuntimeError(f"no count of bytes from pppd:\n{self.log}")
            return Traffic(int(match[1]), int(match[2]))
        before = self.given
        directory = f"/sys/class/net/{before['interface']}/statistics"
        script = f"for name in tx_bytes rx_bytes; do echo $name=$(< {directory}/$name); done"
        now = _pairs(self._client.run(script))
        sent, received = (int(now[n]) - int(before[n]) for n in ("tx_bytes", "rx_bytes"))
        return Traffic(sent, received)

    def traffic_at_rest(self) -> Traffic:
        """The same, once nothing is under way any more: what ends a connection, say."""
        last = self.traffic()
        while True:
            time.sleep(QUIET_S)
            now = self.traffic()
            if now == last:
                return now
            last = now

    # ---- what it can do

    def ping(
        self, address: str, count: int = 3, payload_bytes: int = 56, pattern: str = "00"
    ) -> int:
        """Ping through the session; how many answers came."""
        options = f"-I {self.given['interface']} -c {count} -i 0.2 -W 2 -s {payload_bytes}"
        options += f" -p {pattern}"
        output = self._client.run(f"ping {options} {address} || true")
        match = re.search(r"(\d+) packets received", output)
        return int(match[1]) if match else 0

    def iperf(self, address: str, *options: str) -> float:
        """Measure TCP to the iperf3 server at an address; Mbit/s that arrived. `-R` is download."""
        end = json.loads(self._client.run(self._iperf(address, *options)))["end"]
        return float(end["sum_received"]["bits_per_second"]) / 1e6

    def _iperf(self, address: str, *options: str) -> str:
        bind = f"-B {self.given['local']} --bind-dev {self.given['interface']}"
        return f"iperf3 -J -c {address} {bind} --connect-timeout 3000 {' '.join(options)}"

    def flood(self, address: str, seconds: int, *options: str) -> None:
        """Have iperf3 send to a server, or be sent to (`-R`), for so long."""
        self._client.run(self._iperf(address, "-t", str(seconds), *options))

    def received_in(self, seconds: float) -> float:
        """Watch what arrives for so long; kbit/s of IP packets."""
        counter = f"/sys/class/net/{self.given['interface']}/statistics/rx_bytes"
        look = f'echo "$EPOCHREALTIME $(< {counter})"'
        lines = self._client.run(f"{look}; nap {seconds}; {look}").splitlines()
        (began, before), (ended, after) = (line.split() for line in lines)
        return (int(after) - int(before)) * 8 / 1000 / (float(ended) - float(began))

    def take_default_route(self) -> None:
        """Have the client send everything through this session, and ask its name servers."""
        servers = [f"echo nameserver {address}" for address in self.dns]
        route = f"ip route replace default dev {self.given['interface']}"
        self._client.run(f"{route} && {{ {'; '.join(servers)}; }} > /etc/resolv.conf")

    def fetch(self, url: str) -> str:
        """What a web server answers; "" when none does."""
        return self._client.run(f"curl -s -m {PATIENCE_S} {url} || true")

    def resolve(self, name: str) -> str:
        """The address that the client's name server has for a web server; "" for none."""
        command = f"curl -s -m {PATIENCE_S} -o /dev/null -w '%{{remote_ip}}' http://{name}/"
        return self._client.run(f"{command} || true")

    def greeting(self, address: str, port: int) -> str:
        """The first line of a TCP server; "" when there is none."""
        script = f"exec 5<> /dev/tcp/{address}/{port} && read -r -u 5 line && echo $line"
        command = f"timeout {PATIENCE_S} bash -c '{script}'"
        return self._client.run(f"{{ {command}; }} 2> /dev/null || true").strip()

    def exchange(self, address: str, port: int, data: bytes) -> bytes:
        """Send the length of some bytes and the bytes over TCP; what is answered."""
        send = f"{{ echo {len(data)}; cat sent; }} >&5"
        return self._exchange(data, f"exec 5<> /dev/tcp/{address}/{port}; {send}", "cat")

    def exchange_datagram(self, address: str, port: int, data: bytes) -> bytes:
        """Send a UDP datagram; what is answered."""
        one = "dd bs=65535 count=1"
        send = f"{one} < sent >&5"
        return self._exchange(data, f"exec 5<> /dev/udp/{address}/{port}; {send}", one)

    def _exchange(self, data: bytes, send: str, receive: str) -> bytes:
        (self._directory / "sent").write_bytes(data)
        place = f"cd /host/dials/{self._name}"
        self._client.run(f"{place}; {send}; timeout {PATIENCE_S} {receive} <&5 > received")
        return (self._directory / "received").read_bytes()

    # ---- how it ends

    def hangup(self, how: str = "ppp") -> None:
        """End the session from the client's side: see HANGUPS; wait until it is over."""
        call = self.lac.calls()[self._call][0]
        command = HANGUPS[how].format(name=self._name, lac=self.lac.name, call=call)
        self._client.run(command)
        if how in HANGUPS_TOLD:
            self.wait_over()

    def wait_over(self, timeout_s: float = DOWN_TIMEOUT_S) -> None:
        wait_for(self.is_over, timeout_s, f"end of session {self._name}")

    def close(self) -> None:
        """End the session and its pppd; with the session that opened it, the tunnel too."""
        self._client.run(f"signal_pppd KILL {self._name} 2> /dev/null || true")
        if self._opened_tunnel:
            self._client.release(self.lac)

    def _read(self, name: str) -> str:
        path = self._directory / name
        return path.read_text(errors="replace") if path.exists() else ""


def _pairs(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
