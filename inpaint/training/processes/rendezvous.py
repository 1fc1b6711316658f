"""How the processes of one start find each other in a store where an earlier start left its addresses.

torchrun keeps one store for all restarts of a run, and torch's groups keep their addresses in it under names
that are the same each time (pytorch/pytorch#135712). A process that is started again may read an address of
the process that was killed, and waits for it, now and then for ever. So each start takes a part of the store
that it shares with no other. torchrun's count of restarts cannot name it, as each host counts its own.
"""

from __future__ import annotations

import secrets
import time

import torch.distributed as dist


def store_of_this_start(store: dist.Store, rank: int, size: int, patience: float) -> dist.Store:
    """Return a part of the store for the processes that call this now, empty and the same for all of them.

    Process 0 names it. Each other process sends a request with an identifier that has not been used before,
    and process 0 replies under that identifier, so that no reply to an earlier start is taken for it.

    Args:
        store: torchrun's, which outlives a start.
        rank: this process's number, from 0.
        size: the number of processes.
        patience: seconds to wait for the others.

    Raises:
        TimeoutError: they have not all come.
    """
    identifier = secrets.token_hex(8)
    if rank == 0:
        _reply_to_all(store, identifier, range(1, size), time.monotonic() + patience)
        return dist.PrefixStore(identifier, store)
    store.set(f"request/{rank}", identifier)
    name = _awaited(store, f"reply/{identifier}", time.monotonic() + patience)
    store.set(f"{name}/joined/{rank}", "")
    return dist.PrefixStore(name, store)


def _reply_to_all(store: dist.Store, name: str, others: range, deadline: float) -> None:
    # A request may be one of an earlier start, whose process is gone: go on until all have joined.
    while not store.check([f"{name}/joined/{rank}" for rank in others]):
        for rank in others:
            if store.check([f"request/{rank}"]):
                store.set(f"reply/{store.get(f'request/{rank}').decode()}", name)
        _rest(deadline)


def _awaited(store: dist.Store, key: str, deadline: float) -> str:
    while not store.check([key]):
        _rest(deadline)
    return store.get(key).decode()


def _rest(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError("not all processes have come")
    time.sleep(0.02)
