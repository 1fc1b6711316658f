"""How the processes of one start find each other in a store where an earlier start left its addresses.

torchrun keeps one store for all restarts of a run, and torch's groups keep their addresses in it under names
that are the same each time (pytorch/pytorch#135712). A process that is started again may read an address of
the process that was killed, and waits for it, now and then for ever. So each start takes a part of the store
that it shares with no other. torchrun's count of restarts does not name it: hosts count by themselves.
"""

from __future__ import annotations

import secrets
import time

import torch.distributed as dist


def store_of_this_start(store: dist.Store, rank: int, size: int, patience: float) -> dist.Store:
    """A part of `store` for the `size` processes that call this now, empty and the same for all of them.

    Process 0 names it. The others knock with a word that has not been used before, and are answered under
    that word: what an earlier start left is no answer to it. Raises TimeoutError after `patience` seconds.
    """
    word = secrets.token_hex(8)
    if rank == 0:
        _admit_all(store, word, range(1, size), time.monotonic() + patience)
        return dist.PrefixStore(word, store)
    store.set(f"knock/{rank}", word)
    name = _awaited(store, f"answer/{word}", time.monotonic() + patience)
    store.set(f"{name}/entered/{rank}", "")
    return dist.PrefixStore(name, store)


def _admit_all(store: dist.Store, name: str, others: range, deadline: float) -> None:
    # A knock may be one of an earlier start, whose process is gone: go on until all have entered.
    while not store.check([f"{name}/entered/{rank}" for rank in others]):
        for rank in others:
            if store.check([f"knock/{rank}"]):
                store.set(f"answer/{store.get(f'knock/{rank}').decode()}", name)
        _rest(deadline)


def _awaited(store: dist.Store, key: str, deadline: float) -> str:
    while not store.check([key]):
        _rest(deadline)
    return store.get(key).decode()


def _rest(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError("not all processes have come")
    time.sleep(0.02)
