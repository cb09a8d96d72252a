"""What the records mean: fold, plan, state, and the ways to read a thread's past.

Pure but for ``recover`` and ``history``, which read a log. Imports only ``wal``.
"""
