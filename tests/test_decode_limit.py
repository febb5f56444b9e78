"""Laws of the limit on decoding: never more megapixels than the limit, and never a wait without an end."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from gazevlm_core.images import ImageError, decode_limit, load_image, open_image, raster
from tests.dicom_samples import dicom
from tests.hostile_corpus import picture, saved
from tests.hostile_dicom import GREY

SMALL = saved(picture(), "PNG")  # 64 x 64 px


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> decode_limit._Limits:
    """Limits that two of the small images fit into, with nothing reserved."""
    limits = decode_limit._Limits()
    limits.small = decode_limit.PixelLimit(2 * 64 * 64, most_waiting=10, longest_wait_s=30.0)
    monkeypatch.setattr(decode_limit, "_limits", limits)
    return limits


def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def test_never_more_pixels_than_the_limit(limits: decode_limit._Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    flatten = raster._flatten

    def slowly(image: Image.Image) -> Image.Image:
        seen.append(limits.small._pixels)
        time.sleep(0.02)
        return flatten(image)

    monkeypatch.setattr(raster, "_flatten", slowly)
    with ThreadPoolExecutor(10) as pool:
        shown = list(pool.map(load_image, [SMALL] * 10))
    assert len(shown) == 10
    assert max(seen) <= 2 * 64 * 64
    assert limits.small._pixels == 0


def test_every_format_waits(limits: decode_limit._Limits) -> None:
    files = [saved(picture(), file_format) for file_format in ("PNG", "JPEG", "WEBP", "TIFF")]
    limits.small.longest_wait_s = 0.05
    limits.small.acquire(2 * 64 * 64)
    for file in (*files, dicom(GREY)):
        with pytest.raises(decode_limit.BusyError, match="try again in a minute"):
            load_image(file)
    limits.small.release(2 * 64 * 64)
    for file in (*files, dicom(GREY)):
        load_image(file)


def test_first_come_first_served_and_the_bound_on_who_waits() -> None:
    bound = decode_limit.PixelLimit(100, most_waiting=3, longest_wait_s=30.0)
    bound.acquire(60)
    order: list[int] = []

    def take(pixels: int) -> None:
        bound.acquire(pixels)
        order.append(pixels)
        bound.release(pixels)

    threads = []
    for pixels in (90, 20, 30):  # the small ones would fit, but are not let past
        threads.append(threading.Thread(target=take, args=(pixels,)))
        threads[-1].start()
        until(lambda: len(bound._queue) == len(threads))
    with pytest.raises(decode_limit.BusyError):
        bound.acquire(1)
    assert order == []
    bound.release(60)
    for thread in threads:
        thread.join(30)
    assert order[0] == 90
    assert bound._pixels == 0


def test_what_is_larger_than_the_bound_goes_alone() -> None:
    bound = decode_limit.PixelLimit(100, longest_wait_s=0.05)
    bound.acquire(250)
    with pytest.raises(decode_limit.BusyError):
        bound.acquire(1)
    bound.release(250)
    bound.acquire(1)
    with pytest.raises(decode_limit.BusyError):
        bound.acquire(250)
    bound.release(1)
    bound.acquire(250)


def test_errors_and_nested_loads_give_their_pixels_back(limits: decode_limit._Limits) -> None:
    limits.small = decode_limit.PixelLimit(64 * 64, longest_wait_s=0.05)
    broken = SMALL[:100] + bytes(len(SMALL) - 120) + SMALL[-20:]
    for _ in range(3):
        with pytest.raises(ImageError):
            load_image(broken)
    with open_image(SMALL) as outer:
        inner = load_image(SMALL)  # a thread does not wait for itself
        assert inner.sha256 == outer.sha256
        with ThreadPoolExecutor(1) as pool, pytest.raises(decode_limit.BusyError):  # until its end
            pool.submit(load_image, SMALL).result()
    with pytest.raises(ZeroDivisionError), open_image(SMALL):
        raise ZeroDivisionError
    assert load_image(SMALL).image.size == (64, 64)
    assert limits.small._pixels == 0


def test_small_images_do_not_wait_for_large_ones(limits: decode_limit._Limits) -> None:
    limits.large.acquire(decode_limit.MOST_LARGE_PIXELS)
    assert load_image(SMALL).image.size == (64, 64)


def test_a_forked_process_begins_with_nothing_reserved() -> None:
    decode_limit._limits.large.acquire(decode_limit.MOST_LARGE_PIXELS)
    try:
        child = os.fork()
        if not child:
            os._exit(decode_limit._limits.large._pixels != 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        decode_limit._limits.large.release(decode_limit.MOST_LARGE_PIXELS)
