"""What a node is."""

from enum import Enum


class Role(Enum):
    """What a node is."""

    SLAVE = "Slave"
    MASTER = "Master"
    RESIGNING = "Resigning"
    """A master that does not decide any more, until its successor does."""
    STOPPED = "Stopped"


class NotMasterError(Exception):
    """Only the master may do this."""
