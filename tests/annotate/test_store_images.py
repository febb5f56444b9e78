"""Images are stored once, under the digest of their pixels, with nothing but the pixels; people keep pseudonyms."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate.store.lookup import listed_image
from annotate.store.model import StoreError
from annotate.store.store import AnnotationStore
from gazevlm_core.images import load_image
from gazevlm_core.sample import pixel_digest
from tests.annotate.conftest import OpenStore
from tests.annotate.store_maker import HEIGHT_PX, PATH, WIDTH_PX, add_images, picture


def test_images_come_back_pixel_by_pixel(store: AnnotationStore) -> None:
    grey, color = picture(0), Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 30, 3), dtype=np.uint8))
    for image in (grey, color):
        kept = store.add_image(image, "one", by="admin")
        assert kept.sha256 == pixel_digest(image)
        assert (kept.width_px, kept.height_px) == image.size
        back = store.pixels(kept.sha256)
        assert (back.mode, back.size, back.tobytes()) == (image.mode, image.size, image.tobytes())
        assert store.image(kept.sha256) == kept


def test_the_same_pixels_are_stored_once(store: AnnotationStore) -> None:
    first = store.add_image(picture(0), "first", by="admin", question="Where?")
    again = store.add_image(picture(0).convert("RGB"), "second", by="admin", question="What?", quota=99)
    assert again == first
    assert store.counts().images == len(store.audit()) == 1
    gold = store.add_image(picture(0), "third", by="admin", gold=PATH)
    assert (gold.name, gold.gold) == ("first", PATH)


def test_a_closed_image_that_gets_gold_stays_a_closed_one(store: AnnotationStore) -> None:
    first = store.add_image(picture(0), "first", by="admin")
    store.set_open(first.sha256, False, "admin")
    store.add_image(picture(0), "again", by="admin", gold=PATH, offered=False)
    assert store.image(first.sha256) == replace(first, open=False, gold=PATH)
    assert listed_image(store, first.sha256).offered


def test_metadata_is_left_behind(store: AnnotationStore, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe, born 1970"
    picture(0).save(tmp_path / "x.png", exif=exif, dpi=(300, 300), icc_profile=b"profile of Jane Doe")
    loaded = Image.open(tmp_path / "x.png")
    loaded.load()
    for image in (loaded, load_image(tmp_path / "x.png").image):
        png = store.png(store.add_image(image, "x", by="admin").sha256)
        assert b"Jane" not in png
        back = Image.open(BytesIO(png))
        assert not back.info
        assert not back.getexif()


def test_images_are_listed_by_digest(store: AnnotationStore) -> None:
    add_images(store, 5)
    shas = [image.sha256 for image in store.images()]
    assert shas == sorted(shas)
    assert [image.sha256 for image in store.images(after=shas[1], limit=2)] == shas[2:4]
    assert all((image.width_px, image.height_px) == (WIDTH_PX, HEIGHT_PX) for image in store.images())


def test_what_is_no_image_for_the_store_is_refused(store: AnnotationStore) -> None:
    with pytest.raises(StoreError, match="mode RGBA"):
        store.add_image(picture(0).convert("RGBA"), "x", by="admin")
    with pytest.raises(StoreError, match="below 16 px"):
        store.add_image(Image.new("L", (8, 8)), "x", by="admin")
    with pytest.raises(StoreError, match="wants 1 to"):
        store.add_image(picture(0), "x", by="admin", quota=0)
    with pytest.raises(StoreError, match="question is empty"):
        store.add_image(picture(0), "x", by="admin", question=" ")
    with pytest.raises(StoreError, match="no such image"):
        store.pixels("0" * 64)
    assert store.images() == []


def test_names_are_shown_on_one_line(store: AnnotationStore) -> None:
    kept = store.add_image(picture(0), "a\0b\n\u202e" + "x" * 500 + ".png", by="admin")
    assert kept.name.isprintable()
    assert len(kept.name) == 200
    assert store.add_image(picture(1), "\n", by="admin").name == "image"


def test_pseudonyms_stay_and_tell_nothing(open_store: OpenStore) -> None:
    store = open_store()
    ada = store.pseudonym(" Ada ")
    assert store.pseudonym("Ada") == open_store().pseudonym("Ada") == ada
    assert store.pseudonym("ada") != ada
    assert "ada" not in ada.lower()
    assert [(person.name, person.pseudonym == ada) for person in store.people()] == [("Ada", True), ("ada", False)]
    for name, message in (("  ", "name is empty"), ("x" * 201, "longer than 200"), ("a\0", "no text")):
        with pytest.raises(StoreError, match=message):
            store.pseudonym(name)


def test_a_given_secret_makes_the_same_pseudonyms_in_another_database(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(secret="hush")
    other = AnnotationStore.open(tmp_path / "other", "", store.settings)
    assert other.pseudonym("Ada") == store.pseudonym("Ada")
    assert other.pseudonym("Bob") != open_store().pseudonym("Bob")
    assert open_store(secret="another").pseudonym("Ada") == store.pseudonym("Ada")  # who is known stays the same
    assert "hush" not in repr(store.settings)
    other.close()
