"""langgraph-checkpoint's own conformance suite, with all capabilities: in memory and on disk, sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES, DetectedCapabilities

from walgraph import Log, MemoryLog
from walgraph.tools.langgraph_saver import WalSaver


class FromThreads(WalSaver):
    """Answers the suite, which is asynchronous, by the methods that are not."""

    async def aget_tuple(self, config: Any) -> Any:
        """From a thread."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(self, config: Any, **options: Any) -> AsyncIterator[Any]:
        """From a thread."""
        for each in await asyncio.to_thread(lambda: list(self.list(config, **options))):
            yield each

    async def aput(self, *arguments: Any) -> Any:
        """From a thread."""
        return await asyncio.to_thread(self.put, *arguments)

    async def aput_writes(self, *arguments: Any, **path: str) -> None:
        """From a thread."""
        await asyncio.to_thread(self.put_writes, *arguments, **path)


@pytest.mark.parametrize("saver", [WalSaver, FromThreads], ids=["async", "sync"])
@pytest.mark.parametrize("place", ["memory", "disk"])
def test_it_conforms_with_all_capabilities(place: str, saver: type[WalSaver], tmp_path: Path) -> None:
    """Each test of the suite passes, and no capability is missing."""
    logs: list[Log] = []

    @checkpointer_test(name=f"{place} {saver.__name__}")
    async def made() -> AsyncIterator[WalSaver]:
        """From a thread."""
        log = MemoryLog() if place == "memory" else Log.open(tmp_path / f"log {len(logs)}", fsync="off")
        logs.append(log)
        async with saver(log) as opened:
            yield opened
        log.close()

    report = asyncio.run(validate(made))
    assert {result: found.failures for result, found in report.results.items() if not found.passed} == {}
    assert len(report.results) == len(ALL_CAPABILITIES)
    assert DetectedCapabilities.from_instance(WalSaver(MemoryLog())).missing == frozenset()
