"""What a process can say of its own use of disk and memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def bytes_below(place: Path) -> int:
    """Return how many bytes the files below a folder take on the disk, without LMDB's table of readers."""
    files = [path for path in place.rglob("*") if path.is_file() and not path.name.startswith("lock")]
    return sum(path.stat().st_blocks * 512 for path in files)


def written() -> int:
    """Return how many bytes this process has handed to the disk; 0 where the system does not say."""
    return _field("/proc/self/io", "write_bytes:")


def own_memory() -> int:
    """Return the memory that is this process's own: mapped files, such as a log's, are not; 0 where nobody says."""
    return _field("/proc/self/status", "RssAnon:") * 1024


def peak_memory() -> int:
    """Return the most memory that this process has had at once.

    Linux says under VmHWM what the program itself had; ``ru_maxrss`` begins with what its parent had when it forked.
    """
    own = _field("/proc/self/status", "VmHWM:") * 1024
    return own or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def _field(path: str, name: str) -> int:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def human(size: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
