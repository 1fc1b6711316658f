"""Drafts: work that outlasts a reload, in each tab its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from canvas_driver import DARK, GREEN, Painter, dark_photo, encoded

pytestmark = pytest.mark.browser

NO_LOCKS = "Object.defineProperty(Navigator.prototype, 'locks', {value: undefined})"
"""What a page has over plain HTTP from another machine."""

ASLEEP = "window.BroadcastChannel = class { postMessage() {} }"
"""A tab that the browser has put to sleep hears nothing of others."""


@pytest.fixture(params=[[], [NO_LOCKS]], ids=["locks", "no-locks"])
def first(request: pytest.FixtureRequest, visit: Callable[..., Painter]) -> Painter:
    """A tab, in a browser with Web Locks and in one without."""
    return tab_of(visit(), request.param)


def tab_of(painter: Painter, scripts: list[str]) -> Painter:
    """The tab again, with scripts that run first in each of its browser's tabs."""
    for script in scripts:
        painter.context.add_init_script(script)
    painter.page.reload()
    painter.wait_until_ready()
    return painter


def new_tab(painter: Painter) -> Painter:
    """Another tab of the same browser."""
    return Painter(painter.context, painter.page.url)


def duplicate(painter: Painter) -> Painter:
    """A tab that begins with a copy of another's sessionStorage, as a duplicated one does."""
    tab = Painter.__new__(Painter)
    tab.context = painter.context
    with painter.context.expect_page() as opened:
        painter.run("window.open(location.href)")
    tab.page = opened.value
    tab.wait_until_ready()
    return tab


def restore(painter: Painter, *, again: bool = True) -> Any:
    """Load the page (again) and go on with the draft: the name of the photo, or None."""
    if again:
        painter.page.reload()
        painter.wait_until_ready()
    return painter.run(
        "const draft = await Draft.load(); if (draft) await canvas.restore(draft); return draft && draft.name"
    )


def save(painter: Painter, size: int, name: str) -> None:
    """Open a photo of a name, paint a dot and keep it."""
    if painter.run("return canvas.name") != name:
        painter.open_bytes(encoded(dark_photo(size, size)), name)
    painter.drag((size / 2, size / 2))
    painter.run("await Draft.save(await canvas.snapshot())")


def test_a_draft_survives_a_reload(visit: Callable[..., Painter]) -> None:
    painter = visit()
    assert painter.run("return await Draft.load()") is None
    painter.open(320, 240)
    painter.run("Draft.keep(canvas, {delay: 20})")
    painter.drag((100, 100), (200, 100))
    filled = painter.mask()
    painter.page.get_by_role("button", name="Fill", exact=True).click()
    painter.page.wait_for_function("canvas.mask.isEmpty()")
    painter.drag((60, 200))
    mask = painter.mask()
    painter.page.wait_for_timeout(300)
    painter.page.wait_for_function("events.at(-1).event === 'draft' && events.at(-1).kept")
    painter.page.reload()
    painter.wait_until_ready()
    assert painter.run("return canvas.isOpen") is False
    painter.run("await canvas.restore(await Draft.load())")
    np.testing.assert_array_equal(painter.mask(), mask)
    assert tuple(painter.picture()[100, 150]) == tuple(np.add(DARK, GREEN))
    assert painter.run("return canvas.name") == "photo.png"
    painter.run("await canvas.undo(); await canvas.undo()")
    np.testing.assert_array_equal(painter.mask(), filled)
    np.testing.assert_array_equal(painter.picture(), dark_photo(320, 240))
    # Limits: the oldest fills go first, then the photo; and a draft grows old.
    painter.run(
        "await canvas.redo(); canvas.invert(); await canvas.showFill(new Blob([canvas.picture.blob]));"
        "window.saved = await canvas.snapshot(); window.photo = saved.photo.size;"
        "window.last = saved.fills[1].blob.size"
    )
    fills = "return (await Draft.load()).fills.length"
    assert painter.run("await Draft.save(saved);" + fills) == 2
    assert painter.run("await Draft.save(saved, {limitBytes: photo + last});" + fills) == 1
    assert painter.run("await Draft.save(saved, {limitBytes: photo});" + fills) == 0
    assert painter.run("return await Draft.load({maxAgeDays: -1})") is None
    assert painter.run("return await Draft.save(saved, {limitBytes: photo - 1})") is False
    assert painter.run("return await Draft.load()") is None


def test_each_tab_has_its_own(first: Painter) -> None:
    assert restore(first) is None
    save(first, 120, "one.png")
    second = new_tab(first)
    assert restore(second, again=False) is None
    save(second, 90, "two.png")
    for _ in range(2):
        assert restore(first) == "one.png"
        assert restore(second) == "two.png"
        assert first.mask().shape == (120, 120) and second.mask().shape == (90, 90)
        assert first.mask().any() and second.mask().any()
    # To start over in one of them leaves the other alone, and gives it no draft of others.
    first.run("await Draft.clear()")
    assert restore(first) is None
    assert restore(second) == "two.png"


def test_a_new_tab_takes_up_the_newest_draft_of_a_closed_one(first: Painter) -> None:
    tabs = [first, new_tab(first), new_tab(first)]
    for number, tab in enumerate(tabs):
        restore(tab, again=False)
        save(tab, 80, f"{number}.png")
    save(first, 80, "0.png")  # the newest now
    tabs[0].page.close()
    tabs[2].page.close()
    names = []
    for _ in range(3):
        tab = new_tab(tabs[1])
        names.append(restore(tab, again=False))
        assert restore(tab) == names[-1]
    assert names == ["0.png", "2.png", None]


def test_a_duplicated_tab_does_not_share(first: Painter) -> None:
    restore(first)
    save(first, 120, "one.png")
    second = duplicate(first)
    key = "return sessionStorage.getItem('mask-canvas-draft')"
    assert second.run(key) == first.run(key)
    assert restore(second, again=False) is None
    assert second.run(key) != first.run(key)
    save(second, 90, "two.png")
    save(first, 120, "one.png")
    assert restore(second) == "two.png"
    assert restore(first) == "one.png"


def test_a_tab_that_was_asleep_overwrites_nothing(visit: Callable[..., Painter]) -> None:
    first = tab_of(visit(), [NO_LOCKS, ASLEEP])
    restore(first)
    save(first, 120, "one.png")
    second = duplicate(first)
    assert restore(second, again=False) == "one.png"
    second.run("canvas.invert(); await Draft.save(await canvas.snapshot())")
    first.run("await canvas.undo(); await Draft.save(await canvas.snapshot())")
    assert restore(second) == "one.png" and second.mask()[0, 0]
    assert restore(first) == "one.png" and not first.mask().any()


def test_drafts_of_closed_tabs_are_few(first: Painter) -> None:
    restore(first)
    save(first, 60, "held.png")  # the oldest, but its tab lives
    for number in range(7):
        tab = new_tab(first)
        tab.run("sessionStorage.setItem('mask-canvas-draft', argument)", f"closed-{number}")
        restore(tab, again=False)
        save(tab, 60, f"{number}.png")
        tab.page.close()
    last = new_tab(first)
    assert restore(last, again=False) == "6.png"
    stored = """
      const {list} = await import('/inpaint/page/static/canvas/store.js');
      const drafts = (await list()).map(({id}) => id);
      const db = await new Promise((done) => {
        const opening = indexedDB.open('mask-canvas'); opening.onsuccess = () => done(opening.result);
      });
      const keys = await new Promise((done) => {
        const asking = db.transaction('blobs').objectStore('blobs').getAllKeys();
        asking.onsuccess = () => done(asking.result);
      });
      db.close();
      return [drafts, [...new Set(keys.map(([id]) => id))].sort()];
    """
    for _ in range(100):  # it is done beside the loading
        drafts, with_blobs = last.run(stored)
        if len(drafts) == 6:
            break
        time.sleep(0.05)
    own = first.run("return sessionStorage.getItem('mask-canvas-draft')")
    assert drafts == ["closed-6", "closed-5", "closed-4", "closed-3", "closed-2", own]
    assert with_blobs == sorted(drafts)
    forget = (
        "const {forgetClosed} = await import('/inpaint/page/static/canvas/tab.js');"
        "await forgetClosed({maxAgeDays: 14, ...argument});"
    )
    size = first.run("return (await canvas.snapshot()).photo.size")
    first.run(forget, {"bytes": 2 * size + 1})
    assert first.run(stored)[0] == ["closed-6", "closed-5", "closed-4", own]
    first.run(forget, {"maxAgeDays": -1})
    assert first.run(stored)[0] == ["closed-6", own]  # both are held


def test_what_the_page_keeps_beside_it(visit: Callable[..., Painter]) -> None:
    painter = visit()
    restore(painter)
    painter.open(320, 240)
    painter.run(
        "window.puts = 0; const {put} = IDBObjectStore.prototype;"
        "IDBObjectStore.prototype.put = function (value, key) {"
        "  if (value instanceof Blob) puts++; return put.call(this, value, key); };"
        "window.text = (word) => new Blob([word]); window.original = new File(['original'], 'scan.tif');"
        "window.runs = {width: 2, height: 1, runs: [1, 1]}; window.one = text('one');"
        "window.also = {original, list: [{blob: one, runs}, [text('two'), {again: one, runs}]],"
        "  photo: canvas.photo.blob, words: ['a', null, 1.5, true, undefined]};"
        "window.keep = () => canvas.snapshot().then((snapshot) => Draft.save(snapshot, {also}));"
        "await keep(); canvas.invert(); await keep()"
    )
    assert painter.run("return puts") == 4  # the photo, the original, one and two: once each
    painter.page.reload()
    painter.wait_until_ready()
    assert painter.run(
        "const {also, photo} = await Draft.load(); const [first, [second, third]] = also.list;"
        "return [await also.original.text(), also.original.name, await first.blob.text(),"
        "  await second.text(), third.again === first.blob, third.runs === first.runs, first.runs,"
        "  also.photo === photo, also.words]"
    ) == [
        *("original", "scan.tif", "one", "two", True, True),
        *({"width": 2, "height": 1, "runs": [1, 1]}, True, ["a", None, 1.5, True, None]),
    ]
    # What was loaded is not written again either.
    assert (
        painter.run(
            "const draft = await Draft.load(); await canvas.restore(draft);"
            "let puts = 0; const {put} = IDBObjectStore.prototype;"
            "IDBObjectStore.prototype.put = function (value, key) {"
            "  if (value instanceof Blob) puts++; return put.call(this, value, key); };"
            "await Draft.save(await canvas.snapshot(), {also: draft.also}); return puts"
        )
        == 0
    )
    # Where there is no room for all, the first go first.
    assert painter.run(
        "const snapshot = await canvas.snapshot();"
        "const parts = ['12', '34567', '89'].map((word) => new Blob([word]));"
        "await Draft.save(snapshot, {limitBytes: snapshot.photo.size + 4, also: {parts}});"
        "const {also} = await Draft.load(); return Promise.all(also.parts.map((part) => part && part.text()))"
    ) == ["12", None, "89"]


def test_a_draft_of_the_version_before_is_taken_up(visit: Callable[..., Painter]) -> None:
    painter = visit()
    painter.open_bytes(encoded(dark_photo(20, 10)), "old.png")
    former = """
      const photo = canvas.photo.blob;
      const database = await new Promise((done) => {
        const opening = indexedDB.open('mask-canvas', 1);
        opening.onupgradeneeded = () => opening.result.createObjectStore('draft');
        opening.onsuccess = () => done(opening.result);
      });
      const store = database.transaction('draft', 'readwrite').objectStore('draft');
      const mask = (...runs) => ({width: 20, height: 10, runs});
      if (argument) {
        store.put(photo, 'blob-a-0');
        store.put(new Blob([photo], {type: 'image/png'}), 'blob-a-1');
        const fills = [{blob: 'blob-a-1', mask: mask(20, 20, 160)}];
        const state = {id: 'x', name: 'old.png', mask: mask(0, 5, 195), photo: 'blob-a-0', saved: Date.now()};
        store.put({...state, fills}, 'state');
      } else store.put({of: 'no known form'}, 'state');
      await new Promise((done) => (store.transaction.oncomplete = done));
      database.close();
    """
    painter.run(former, True)
    other = new_tab(painter)
    assert restore(other, again=False) == "old.png"
    expected = np.zeros((10, 20), bool)
    expected[0, :5] = True
    np.testing.assert_array_equal(other.mask(), expected)
    assert other.run("return (await canvas.snapshot()).fills.length") == 1
    assert restore(other) == "old.png"
    assert restore(new_tab(other), again=False) is None

    strange = visit()
    strange.open(20, 10)
    strange.run(former, False)
    assert restore(strange) is None
    save(strange, 60, "new.png")
    assert restore(strange) == "new.png"
