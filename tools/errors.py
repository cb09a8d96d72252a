"""What can go wrong in the tools themselves.

    WalgraphError
    ├── RecordNotFound         WAL-E405  you: the thread has no record of that number
    ├── UnknownCode            WAL-E406  you: no error has that code
    ├── ItemNotFound           WAL-E407  you: the store has no item of that key
    ├── CheckpointSuperseded   WAL-E531  you: LangGraph ran a thread twice at once, and this run was the slower one
    ├── ImportDiffers          WAL-E532  you: what is to be imported is not what the log holds of it already
    ├── SourceNotFound         WAL-E533  you: there is nothing to import from under that name
    └── SourceLocked           WAL-E534  you: what is to be imported is encrypted, and its key is not at hand

It must not repeat errors of the layers below; those come through as they are.
"""

from __future__ import annotations

from ..wal.errors import WalgraphError


class RecordNotFound(WalgraphError, LookupError):
    """The thread has no record of that seq: it is beyond the head, was compacted, or is part of a folded state."""

    code = "WAL-E405"


class UnknownCode(WalgraphError, LookupError):
    """There is no error of that code in this version."""

    code = "WAL-E406"


class ItemNotFound(WalgraphError, LookupError):
    """The store of the log holds no item of that key in that namespace."""

    code = "WAL-E407"


class CheckpointSuperseded(WalgraphError, RuntimeError):
    """The checkpoint that a LangGraph run went on from has got another child meanwhile; nothing of this one was put."""

    code = "WAL-E531"


class ImportDiffers(WalgraphError, ValueError):
    """A thread that is imported has gone on in the log, or was read back otherwise than it is in the source."""

    code = "WAL-E532"


class SourceNotFound(WalgraphError, LookupError):
    """What is to be imported from is not there, or holds no checkpoints of LangGraph's."""

    code = "WAL-E533"


class SourceLocked(WalgraphError, PermissionError):
    """What is to be imported from is encrypted, with a key or a cipher that is not at hand."""

    code = "WAL-E534"
