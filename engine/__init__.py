"""Carrying a run: graphs, tasks, the loop and its drivers. The only layer that runs user code.

What users import is re-exported by the package itself. Imports only ``replay`` and ``wal``.
"""
