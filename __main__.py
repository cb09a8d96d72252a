"""``python -m walgraph``: the same program as ``wal``, for when its script is not on the path."""

from __future__ import annotations

if __name__ == "__main__":
    # Imported here, so that looking at this module does not load the command line.
    from .tools.cli import main

    main()
