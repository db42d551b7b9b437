"""An LNS that only remembers what control commands ask of it."""

from l2tpns_core.config.directives import Config
from l2tpns_core.session import Session


class FakeLns:
    def __init__(self, **directives: object) -> None:
        self.config = Config(**directives)  # type: ignore[arg-type]
        self.sessions: list[Session] = []
        self.calls: list[tuple[object, ...]] = []

    def add(self, user: str = "alice", ip: int = 0x0A000001) -> Session:
        number = len(self.sessions) + 1
        session = Session(3, number, number, number, 0.0, None, "192.0.2.1", user=user, ip=ip)
        self.sessions.append(session)
        return session

    def find_session(self, text: str) -> Session:
        for session in self.sessions:
            if text in (str(session.session_id), f"{session.tunnel_id}/{session.session_id}"):
                return session
        raise LookupError(f"Session {text} is not active.")

    def sessions_of_user(self, user: str) -> list[Session]:
        return [session for session in self.sessions if session.user == user]

    def drop_session(self, session: Session, reason: str) -> None:
        self.calls.append(("drop", session.session_id, reason))

    def kill_session(self, session: Session, reason: str) -> None:
        self.calls.append(("kill", session.session_id, reason))

    def throttle(self, session: Session, rate_in: int, rate_out: int) -> None:
        self.calls.append(("throttle", session.session_id, rate_in, rate_out))

    def snoop(self, session: Session, ip: int, port: int) -> None:
        self.calls.append(("snoop", session.session_id, ip, port))
