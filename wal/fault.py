"""Fault points: instants that have a name, at which tests kill a process or make it stand still.

    code ──reach("shrink: replaced")──► nothing              in every ordinary process
                                    └──► the hook of a test   in a process that a test made

Only code that sets the hook makes a point do anything: there is no setting, and no variable of the environment. Every
step goes through commits, so no call stands there: a test that sets the hook wraps them.

Invariants:
1. Without a hook, a point does nothing.
2. Each name but those of commits stands in the code once, and the workload of a test reaches it.

This module must not know what a test does at a point.
"""

from __future__ import annotations

from collections.abc import Callable

FAULT_POINTS: dict[str, str] = {
    "commit: before": "a transaction holds all of its changes, and is about to be committed",
    "commit: after": "a transaction was committed, and nobody was told",
    "creation: directory made": "a log that is made has an empty directory beside its place",
    "creation: filled": "its tables are durable in that directory",
    "creation: renamed": "it is at its place, whose name may not last",
    "creation: name flushed": "its name lasts",
    "cut: frames gone": "a thread lost some of the frames that it is to lose, in a transaction of their own",
    "retention: snapshot durable": "a policy's snapshot stands for frames that are all there",
    "retention: budget used up": "another process may go on with what a policy was in the middle of",
    "schedule: decided": "what is due of a schedule is known, and nothing says so",
    "schedule: handed over": "its runs wait and its row says so, and nobody was told",
    "compaction: thread cut": "a thread lost its beginning",
    "compaction: sweep begun": "commits say from now on which large values they name",
    "compaction: before values go": "unused values were chosen",
    "compaction: sweep ended": "all unused values are gone",
    "rekey: snapshots rewritten": "a thread's snapshots are under its present key",
    "rekey: rows rewritten": "some rows beside the records are under the present keys, and others may follow",
    "shrink: copied": "what is live was copied into a new file",
    "shrink: copy flushed": "the copy is durable",
    "shrink: replaced": "the copy is at the place of the log's file",
    "shrink: name flushed": "its name lasts",
    "backup: chunk written": "a chunk was written that no manifest names",
    "backup: before the manifest": "all chunks are there",
    "backup: manifest written": "the backup counts",
    "backup: manifest removed": "an older backup does not count any more, and its chunks are there",
    "restore: filled": "a new log holds what the backup held, and was not verified",
    "restore: verified": "it was verified",
    "repair: kept aside": "the damaged file has a second name",
    "repair: replaced": "the mended file is at its place",
    "claim: taken": "a thread is this process's, and its former owner does not know",
    "claim: fenced off": "the former owner would be refused by the log",
    "snapshot: queued": "a snapshot waits for the next commit",
    "mail: before a signal": "a signal is about to be left",
    "mail: signal left": "a signal is durable, and its sender was not told",
    "mail: signal taken": "a run has a signal in hand that is still in the mailbox",
    "mail: receipt recorded": "its receipt was recorded as the mode says, and the task was not told",
    "timer: over": "a timer has run out, and no record says so",
    "timer: recorded": "its end was recorded as the mode says, and the task was not told",
}
"""Name → what is so at that instant."""

hook: Callable[[str], None] | None = None
"""What a test does at each point; set by tests alone, in a process of their own."""


def reach(name: str) -> None:
    """Pass a fault point, which does nothing but in a process of a test."""
    if hook is not None:
        hook(name)
