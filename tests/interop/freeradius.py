"""FreeRADIUS as the RADIUS server of the tests: PAP, CHAP, MS-CHAP, and all it heard as records."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from interop import debian
from interop.namespaces import Child, wait_for

PACKAGES = ("freeradius", "freeradius-common")
PROGRAM = "/usr/sbin/freeradius"
LIBRARIES = "usr/lib/freeradius"
START_TIMEOUT_S = 20
READY = "Ready to process requests"

CONFIG = """\
confdir = {directory}
logdir = {directory}
run_dir = {directory}
libdir = {libraries}
pidfile = {directory}/pid
security {{
    reject_delay = 0
}}
modules {{
    pap {{
    }}
    chap {{
    }}
    mschap {{
    }}
    always ok {{
        rcode = ok
    }}
    files {{
        usersfile = {directory}/users
    }}
    detail requests {{
        filename = {directory}/requests
    }}
    detail accounting {{
        filename = {directory}/accounting
    }}
}}
client lns {{
    ipaddr = {clients}
    secret = "{secret}"
}}
server default {{
    listen {{
        type = auth
        ipaddr = {address}
        port = {port}
    }}
    listen {{
        type = acct
        ipaddr = {address}
        port = {accounting_port}
    }}
    authorize {{
        requests
        chap
        mschap
        files
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
        Auth-Type CHAP {{
            chap
        }}
        Auth-Type MS-CHAP {{
            mschap
        }}
    }}
    preacct {{
        ok
    }}
    accounting {{
        accounting
    }}
}}
"""

Record = dict[str, str]
"""One request by attribute name; the values of a repeated attribute are lines of one string."""


@dataclass(slots=True, frozen=True)
class User:
    """A subscriber that FreeRADIUS knows; `reply` are attributes of the Access-Accept, `pairs` its
    Cisco-AVPairs."""

    name: str
    password: str
    reply: dict[str, str] = field(default_factory=dict)
    pairs: tuple[str, ...] = ()

    def entry(self) -> str:
        """Its lines in the users file, see users(5)."""
        lines = [f"    {name} = {value}" for name, value in self.reply.items()]
        lines += [f'    Cisco-AVPair += "{pair}"' for pair in self.pairs]
        reply = ",\n".join(lines)
        return f'{self.name} Cleartext-Password := "{self.password}"\n{reply}\n\n'


class Place(Protocol):
    """Where it runs: a namespace."""

    def command(self, *arguments: str) -> list[str]: ...


class FreeRadius:
    """A running FreeRADIUS; its configuration and records are below `directory`. Its clients are
    at its own address, unless other ones (an address or network) are named."""

    def __init__(
        self,
        place: Place,
        directory: Path,
        users: Sequence[User],
        secret: str,
        address: str = "127.0.0.1",
        port: int = 1812,
        clients: str = "",
    ) -> None:
        tree = debian.unpack(PACKAGES, [PROGRAM], [LIBRARIES])
        self._directory = directory
        config = CONFIG.format(
            directory=directory,
            libraries=tree.path / LIBRARIES,
            address=address,
            clients=clients or address,
            port=port,
            accounting_port=port + 1,
            secret=secret,
        )
        (directory / "radiusd.conf").write_text(config)
        dictionary = tree.path / "usr/share/freeradius/dictionary"
        (directory / "dictionary").write_text(f"$INCLUDE {dictionary}\n")
        (directory / "users").write_text("".join(user.entry() for user in users))
        options = ["-f", "-l", "stdout", "-n", "radiusd", "-d", str(directory)]
        options += ["-D", str(directory)]
        command = place.command(*tree.command(PROGRAM, *options))
        self._child = Child(command, directory / "log")
        try:
            wait_for(self._is_settled, START_TIMEOUT_S, "word from FreeRADIUS")
            if READY not in self.log():
                raise RuntimeError(f"FreeRADIUS did not start:\n{self.log()[-2000:]}")
        except BaseException:
            self.close()
            raise

    def _is_settled(self) -> bool:
        return READY in self.log() or not self._child.is_running()

    def log(self) -> str:
        return self._child.output()

    def requests(self, user: str) -> list[Record]:
        """The Access-Requests of a user, oldest first."""
        return self._records("requests", user)

    def accounting(self, user: str | None = None) -> list[Record]:
        """The Accounting-Requests of a user, or all of them, oldest first."""
        return self._records("accounting", user)

    def _records(self, name: str, user: str | None) -> list[Record]:
        path = self._directory / name
        found = parse_detail(path.read_text()) if path.exists() else []
        return [record for record in found if user is None or record.get("User-Name") == user]

    def close(self) -> None:
        self._child.stop(signal.SIGKILL)  # it takes seconds over a SIGTERM, and has nothing to save


def parse_detail(text: str) -> list[Record]:
    """The records of a detail file. One that is still being written is left out."""
    found = []
    for block in text.split("\n\n")[:-1]:
        record: Record = {}
        for name, value in re.findall(r"^\t(\S+) = (.*)$", block, re.MULTILINE):
            if value.startswith('"'):
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            record[name] = f"{record[name]}\n{value}" if name in record else value
        if record:
            found.append(record)
    return found


def octets(record: Record) -> tuple[int, int]:
    """The 64-bit byte counts of an accounting record: (from the subscriber, to the subscriber)."""
    return _total(record, "Input"), _total(record, "Output")


def _total(record: Record, way: str) -> int:
    gigawords = int(record.get(f"Acct-{way}-Gigawords", "0"))
    return (gigawords << 32) + int(record[f"Acct-{way}-Octets"])
