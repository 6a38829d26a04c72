"""The engine's thread: what is asked of it between two steps, and what becomes of it at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from tiny_server import scripted

from parrotlet.core.machine import MachineConfig
from parrotlet.engine.packed import can_pack
from parrotlet.serve.errors import ApiError
from parrotlet.serve.models import find_all, load_all
from parrotlet.serve.worker import Worker


def run_to_the_end(coroutine: Coroutine[Any, Any, None]) -> None:
    async def go() -> None:
        async with asyncio.timeout(1200):  # the machine may stand still for a while
            await coroutine

    asyncio.run(go())


def begun() -> Worker:
    """A worker whose thread runs; on the event loop."""
    worker = Worker([scripted([65]).all[0].lane], lambda: None)
    worker.start(asyncio.get_running_loop())
    return worker


def test_a_call_the_thread_never_comes_to_is_told() -> None:
    async def go() -> None:
        worker = begun()
        assert await worker.call(lambda: 3) == 3
        hold = threading.Event()

        def die() -> None:
            hold.wait()
            raise RuntimeError("the machine is on fire")

        worker._inbox.put(die)
        call = asyncio.create_task(worker.call(lambda: 3))
        await asyncio.sleep(0)
        hold.set()
        with pytest.raises(ApiError, match="the engine has stopped"):
            await call
        assert not worker.alive
        with pytest.raises(ApiError, match="the engine has stopped"):
            await worker.call(lambda: 3)

    run_to_the_end(go())


def test_a_call_nobody_waits_for_leaves_the_thread_alone() -> None:
    async def go() -> None:
        worker = begun()
        hold, called = threading.Event(), list[int]()
        worker._inbox.put(lambda: hold.wait() and None)
        call = asyncio.create_task(worker.call(lambda: called.append(1)))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        hold.set()
        assert await worker.call(lambda: 4) == 4 and not called
        with pytest.raises(ZeroDivisionError):
            await worker.call(lambda: 1 // 0)
        assert worker.alive
        worker.stop()

    run_to_the_end(go())


@pytest.mark.skipif(not can_pack("float16"), reason="no FBGEMM on this processor")
def test_a_fingerprint_tells_how_weights_are_packed(runs: Path) -> None:
    found = find_all([str(runs / "tiny")])
    machines = [
        MachineConfig(device="cpu", dtype="float32"),
        MachineConfig(device="cpu", dtype="float32", quantize="float16"),
        MachineConfig(device="cpu", dtype="float32"),
    ]
    plain, packed, again = (
        load_all(found, each, slots=1, keep=False).all[0].fingerprint for each in machines
    )
    assert plain == again != packed
