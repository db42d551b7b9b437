"""What can go wrong with etcd."""


class EtcdError(Exception):
    """No member of etcd answers, or the answer is not one that we understand."""


class LeaseGoneError(EtcdError):
    """etcd does not know the lease."""


class TokenError(EtcdError):
    """etcd does not know who we are, or no longer."""


class RecordError(EtcdError):
    """A value below the prefix is not a record of ours."""
