"""The one exception of this package."""

import errno
from typing import Final

REMEDIES: Final = {
    errno.EPERM: "run as root or with CAP_BPF and CAP_NET_ADMIN",
    errno.EACCES: "run as root or with CAP_BPF and CAP_NET_ADMIN",
    errno.ENOSYS: "the kernel is built without BPF: CONFIG_BPF_SYSCALL",
    errno.ENOMEM: "sessions need less memory with a smaller limit on their number",
    errno.ENODEV: "the interface is gone",
}


class FastPathError(Exception):
    """The kernel does not forward for us. One line says why; `remedy` what can be done about it;
    `log` is what the verifier said, if it was asked."""

    def __init__(self, reason: str, remedy: str = "", log: str = "") -> None:
        super().__init__(f"{reason} ({remedy})" if remedy else reason)
        self.reason = reason
        self.remedy = remedy
        self.log = log


def kernel_refused(what: str, number: int, log: str = "") -> FastPathError:
    """The error for an errno."""
    name = errno.errorcode.get(number, str(number))
    return FastPathError(f"{what}: {name}", REMEDIES.get(number, ""), log)
