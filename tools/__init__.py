"""The command line: what people see of a log, and what keeps it small.

    cli ──► cmd_VERB          one module per verb, imported when it is called
              ├── options     where the log is, and the user's graph
              ├── folding     a thread's state, with the user's code or without (gathered)
              ├── timeline    records in their places            laws    what records must obey
              └── render      tables, lines, JSON                words   values and records on one line

Invariants:
1. Nothing below imports this package.
2. Verbs that read never write; verbs that destroy do so only with ``--apply``.

This package must not hold what a library would need: choices and folds live in ``replay``, bytes in ``wal``.
"""
