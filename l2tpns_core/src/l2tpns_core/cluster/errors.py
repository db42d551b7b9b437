"""What can be wrong with a message of the cluster."""

from enum import Enum


class Refusal(Enum):
    """Why a message is refused; they are counted apart."""

    SIZE = "size"
    MAGIC = "magic"
    VERSION = "version"
    KEY = "key"
    TIME = "time"
    REPLAY = "replay"
    PEERS = "peers"
    KIND = "kind"
    BODY = "body"


class ClusterError(Exception):
    """A message, or what is in it, makes no sense or is not from our cluster."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.refusal = refusal
