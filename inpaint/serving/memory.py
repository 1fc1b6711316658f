"""How much memory processes have, as far as the system tells. Needs nothing that only a service has."""

from __future__ import annotations

import os
from pathlib import Path

PROCESSES = "/proc"
"""Where the system tells the memory of its processes; macOS and Windows have nothing of the kind."""


def memory_is_watched() -> bool:
    """Return whether this system tells how much memory a process has: without that, no limit holds."""
    return resident_bytes(os.getpid()) > 0


def resident_bytes(pid: int) -> int:
    """Return a process's memory without what it shares with others; 0 where the system does not tell."""
    try:
        words = Path(PROCESSES, str(pid), "statm").read_text("ascii").split()
        return (int(words[1]) - int(words[2])) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
