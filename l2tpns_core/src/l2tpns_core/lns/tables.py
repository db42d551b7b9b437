"""The session table and its indexes: by key, by user, by address, by network. All O(1)."""

from collections import deque

from l2tpns_core.session import SESSION_ID_BITS, Session

MAX_SESSION_ID = (1 << SESSION_ID_BITS) - 1
MAX_ID_DIGITS = len(str(MAX_SESSION_ID))


class SessionIds:
    """Hands out session ids, unique over all tunnels so that an operator can name a session by one
    number. An id that was given back waits behind all others, so that a late packet of a dead
    session does not reach a new one.
    """

    __slots__ = ("_free", "_fresh")

    def __init__(self) -> None:
        self._fresh = 1
        self._free: deque[int] = deque()

    def take(self) -> int | None:
        """A session id, or None when all 65,535 are in use."""
        if self._fresh <= MAX_SESSION_ID:
            self._fresh += 1
            return self._fresh - 1
        return self._free.popleft() if self._free else None

    def reserve(self, used: set[int]) -> None:
        """Begin with these in use, and those below the highest of them free."""
        self._fresh = max(used, default=0) + 1
        self._free.extend(number for number in range(1, self._fresh) if number not in used)

    def give_back(self, session_id: int) -> None:
        self._free.append(session_id)


class SessionTable:
    """All live sessions. A session is found by user and address from its login on."""

    __slots__ = ("_by_id", "_by_ip", "_by_network", "_by_user", "by_key", "ids")

    def __init__(self) -> None:
        self.by_key: dict[int, Session] = {}
        self.ids = SessionIds()
        self._by_id: dict[int, Session] = {}
        self._by_user: dict[str, dict[int, Session]] = {}
        self._by_ip: dict[int, Session] = {}
        self._by_network: dict[tuple[int, int], Session] = {}

    def add(self, session: Session) -> None:
        self.by_key[session.key] = session
        self._by_id[session.session_id] = session

    def remove(self, session: Session) -> None:
        """Take a session out of every index and give its id back."""
        if self.by_key.pop(session.key, None) is None:
            return
        del self._by_id[session.session_id]
        self.forget_login(session)
        self.ids.give_back(session.session_id)

    def index_login(self, session: Session) -> None:
        """Make a session found by its address and, unless it is in the walled garden, its user."""
        if session.user and not session.walled_garden:
            self._by_user.setdefault(_folded(session.user), {})[session.key] = session
        if session.ip:
            self._by_ip[session.ip] = session

    def forget_login(self, session: Session) -> None:
        """Undo index_login() and give up the networks."""
        self.forget_user(session)
        if self._by_ip.get(session.ip) is session:
            del self._by_ip[session.ip]
        for route in session.routes:
            self.release_network(session, route.network, route.prefix_length)

    def forget_user(self, session: Session) -> None:
        """Have a session no longer found by its user."""
        namesakes = self._by_user.get(_folded(session.user))
        if namesakes is not None:
            namesakes.pop(session.key, None)
            if not namesakes:
                del self._by_user[_folded(session.user)]

    def claim_network(self, session: Session, network: int, prefix_length: int) -> Session | None:
        """Make a session the owner of a network; return the owner that it is taken from."""
        owner = self._by_network.get((network, prefix_length))
        self._by_network[network, prefix_length] = session
        return owner if owner is not session else None

    def release_network(self, session: Session, network: int, prefix_length: int) -> bool:
        """Give up a network; False when another session owns it by now."""
        if self._by_network.get((network, prefix_length)) is not session:
            return False
        del self._by_network[network, prefix_length]
        return True

    def owner_of_network(self, network: int, prefix_length: int) -> Session | None:
        return self._by_network.get((network, prefix_length))

    def of_user(self, user: str) -> list[Session]:
        """The sessions logged in under a name; upper and lower case are the same user."""
        return list(self._by_user.get(_folded(user), {}).values())

    def by_id(self, session_id: int) -> Session | None:
        return self._by_id.get(session_id)

    def by_ip(self, ip: int) -> Session | None:
        return self._by_ip.get(ip)

    def find(self, text: str) -> Session:
        """The session that an operator means by `5` or by `3/5` (tunnel/session).

        Raises LookupError with the sentence to print.
        """
        tunnel, slash, session = text.rpartition("/")
        if not text.isascii() or not session.isdigit() or (slash and not tunnel.isdigit()):
            raise LookupError(f'Invalid session id "{text}"')
        found = self._by_id.get(_id_of(session))
        if slash and found is not None and found.tunnel_id != _id_of(tunnel):
            found = None
        if found is None:
            raise LookupError(f"Session {text} is not active.")
        return found


def _id_of(digits: str) -> int:
    """The id that digits name, 0 for what no id can be."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= MAX_ID_DIGITS else 0


def _folded(user: str) -> str:
    return user.casefold()
