"""Laws of taking turns at decoding: never more megapixels than the bound, and never a wait without an end."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from gazevlm_core.images import ImageError, load_image, open_image, raster, turns
from tests.dicom_samples import dicom
from tests.hostile_corpus import picture, saved
from tests.hostile_dicom import GREY

SMALL = saved(picture(), "PNG")  # 64 x 64 px


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> turns._Lanes:
    """Turns of which two of the small images fit, and nothing is in flight."""
    lanes = turns._Lanes()
    lanes.small = turns.Turns(2 * 64 * 64, most_waiting=10, longest_wait_s=30.0)
    monkeypatch.setattr(turns, "_lanes", lanes)
    return lanes


def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def test_never_more_pixels_in_flight_than_the_bound(lanes: turns._Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    flatten = raster._flatten

    def slowly(image: Image.Image) -> Image.Image:
        seen.append(lanes.small._pixels)
        time.sleep(0.02)
        return flatten(image)

    monkeypatch.setattr(raster, "_flatten", slowly)
    with ThreadPoolExecutor(10) as pool:
        shown = list(pool.map(load_image, [SMALL] * 10))
    assert len(shown) == 10
    assert max(seen) <= 2 * 64 * 64
    assert lanes.small._pixels == 0


def test_every_format_waits_for_its_turn(lanes: turns._Lanes) -> None:
    files = [saved(picture(), file_format) for file_format in ("PNG", "JPEG", "WEBP", "TIFF")]
    lanes.small.longest_wait_s = 0.05
    lanes.small.begin(2 * 64 * 64)
    for file in (*files, dicom(GREY)):
        with pytest.raises(turns.BusyError, match="try again in a minute"):
            load_image(file)
    lanes.small.end(2 * 64 * 64)
    for file in (*files, dicom(GREY)):
        load_image(file)


def test_first_come_first_served_and_the_bound_on_who_waits() -> None:
    bound = turns.Turns(100, most_waiting=3, longest_wait_s=30.0)
    bound.begin(60)
    order: list[int] = []

    def take(pixels: int) -> None:
        bound.begin(pixels)
        order.append(pixels)
        bound.end(pixels)

    threads = []
    for pixels in (90, 20, 30):  # the small ones would fit, but are not let past
        threads.append(threading.Thread(target=take, args=(pixels,)))
        threads[-1].start()
        until(lambda: len(bound._queue) == len(threads))
    with pytest.raises(turns.BusyError):
        bound.begin(1)
    assert order == []
    bound.end(60)
    for thread in threads:
        thread.join(30)
    assert order[0] == 90
    assert bound._pixels == 0


def test_what_is_larger_than_the_bound_goes_alone() -> None:
    bound = turns.Turns(100, longest_wait_s=0.05)
    bound.begin(250)
    with pytest.raises(turns.BusyError):
        bound.begin(1)
    bound.end(250)
    bound.begin(1)
    with pytest.raises(turns.BusyError):
        bound.begin(250)
    bound.end(1)
    bound.begin(250)


def test_errors_and_nested_loads_give_their_turn_back(lanes: turns._Lanes) -> None:
    lanes.small = turns.Turns(64 * 64, longest_wait_s=0.05)
    broken = SMALL[:100] + bytes(len(SMALL) - 120) + SMALL[-20:]
    for _ in range(3):
        with pytest.raises(ImageError):
            load_image(broken)
    with open_image(SMALL) as outer:
        inner = load_image(SMALL)  # a thread does not wait for itself
        assert inner.sha256 == outer.sha256
        with ThreadPoolExecutor(1) as pool, pytest.raises(turns.BusyError):  # the turn lasts as long as the context
            pool.submit(load_image, SMALL).result()
    with pytest.raises(ZeroDivisionError), open_image(SMALL):
        raise ZeroDivisionError
    assert load_image(SMALL).image.size == (64, 64)
    assert lanes.small._pixels == 0


def test_small_images_do_not_wait_for_large_ones(lanes: turns._Lanes) -> None:
    lanes.large.begin(turns.MOST_LARGE_PIXELS)
    assert load_image(SMALL).image.size == (64, 64)


def test_a_forked_process_begins_with_no_turn_taken() -> None:
    turns._lanes.large.begin(turns.MOST_LARGE_PIXELS)
    try:
        child = os.fork()
        if not child:
            os._exit(turns._lanes.large._pixels != 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        turns._lanes.large.end(turns.MOST_LARGE_PIXELS)
