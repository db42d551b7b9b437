"""Before other processes, and never swapped out (directives `scheduler_fifo` and `lock_pages`)."""

import ctypes
import errno
import logging
import os
import resource
from typing import Final

from l2tpns_core.capabilities import Cap, permitted
from l2tpns_core.config.directives import Config

log = logging.getLogger("l2tpns")

MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4
"""Pages count when they are used, not when room for them is reserved."""
PRIORITY: Final = 1
"""Before everything that is not real-time, behind everything that is."""


def apply(config: Config) -> None:
    """Follow the directives. What the system refuses is told, and the daemon goes on without."""
    if config.scheduler_fifo:
        _use_fifo()
    if config.lock_pages:
        _lock_pages()


def _use_fifo() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        log.warning("scheduler_fifo is ignored on one processor: nothing else would run")
        return
    try:
        # what the daemon starts, and its threads, are ordinary again
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(PRIORITY))
    except OSError as error:
        log.error("scheduler_fifo: %s (CAP_SYS_NICE is needed)", error.strerror)
    else:
        log.info("running with the policy SCHED_FIFO, priority %d", PRIORITY)


def _lock_pages() -> None:
    try:
        _see_that_it_lasts()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    except OSError as error:
        text = "lock_pages: %s (CAP_IPC_LOCK is needed, or LimitMEMLOCK=infinity)"
        log.error(text, error.strerror)
    else:
        log.info("all pages are locked in memory")


def _see_that_it_lasts() -> None:
    """Without a right to pass the limit, later allocations would fail. Raises OSError."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit != resource.RLIM_INFINITY and Cap.IPC_LOCK not in permitted():
        raise OSError(errno.EPERM, f"only {limit} bytes may be locked")
