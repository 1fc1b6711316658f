import threading

import pytest
import torch.distributed as dist

from inpaint.training.processes.rendezvous import store_of_this_start

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")


def meet(store: dist.Store, size: int) -> list[dist.Store]:
    """What each of `size` processes, here threads, is given."""
    given: dict[int, dist.Store] = {}

    def come(rank: int) -> None:
        given[rank] = store_of_this_start(store, rank, size, patience=60)

    threads = [threading.Thread(target=come, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [given[rank] for rank in range(size)]


@pytest.mark.parametrize("sizes", [(3, 3, 3), (3, 2, 4)])  # the second time a process fewer, then two more
def test_each_start_has_a_part_of_its_own(sizes: tuple[int, ...]) -> None:
    store = dist.HashStore()
    for size in sizes:
        stores = meet(store, size)
        assert not any(part.check(["address"]) for part in stores)  # nothing of an earlier start
        stores[-1].set("address", str(size))
        assert [part.get("address") for part in stores] == [str(size).encode()] * size


def test_a_start_that_some_did_not_live_to_see_does_not_disturb_the_next() -> None:
    store = dist.HashStore()
    for rank in (0, 2):  # process 1 was killed before it came
        with pytest.raises(TimeoutError):
            store_of_this_start(store, rank, 3, patience=0.1)
    stores = meet(store, 3)
    stores[0].set("address", "here")
    assert [part.get("address") for part in stores] == [b"here"] * 3
