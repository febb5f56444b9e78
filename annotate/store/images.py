"""Images of the store: their pixels once, as PNG without metadata, under the digest of the pixels."""

import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

from PIL import Image
from sqlalchemy import Connection, select, update

from annotate.store.base import Store, write_audit
from annotate.store.database import reads, writes
from annotate.store.model import (
    LONGEST_NAME,
    LONGEST_PATIENT,
    MAIN_PROJECT,
    PRIORITIES,
    StoredImage,
    StoreError,
    checked_metadata,
    checked_text,
)
from annotate.store.project import LONGEST_QUESTION
from annotate.store.queue import NO_IMAGE, QueueEntry, lane_of, lock_image, save_entry
from annotate.store.tables import IMAGE, IMAGES, PIXELS, PROJECTS, values_of
from gazevlm_core.images.base import ImageError, check_size
from gazevlm_core.images.decode_limit import limit_decoding
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.sample import grey_if_equal, pixel_digest
from gazevlm_core.scanpath import Scanpath

ADDED, GOLD_SET, GOLD_GONE = "image added", "gold set", "gold taken away"  # in the audit log
PNG_EFFORT = 3  # of 9: a third of the time of the usual 6, a few percent larger
MOST_QUOTA = 1_000_000


class Images(Store):
    """Images of a store."""

    def add_image(
        self,
        image: Image.Image,
        name: str,
        *,
        question: str = DEFAULT_QUESTION,
        gold: Scanpath | None = None,
        quota: int | None = None,
        source: str = "",
        patient_id: str = "",
        metadata: Mapping[str, str] | None = None,
        by: str,
        offered: bool = True,
        project: str = MAIN_PROJECT,
    ) -> StoredImage:
        """Store an image; the same pixels twice are stored once, and stay as they were said to be.

        Args:
            image: upright, mode "L" or "RGB", as from `load_image`; only its pixels are kept.
            name: for people.
            question: what annotators are asked.
            gold: the known path of a gold image, which is given by the gold share and without a quota.
            quota: how many annotators it wants; None for the store's.
            source: where it comes from.
            patient_id, metadata: as in `StoredImage`.
            by: who adds it.
            offered: whether it is given out as a task; False for an annotator's own image.
            project: that it belongs to.
        """
        quota = self.settings.quota if quota is None else quota
        about = {"patient_id": patient_id, "metadata": dict(metadata or {}), "project": project}
        return self._add(*new_image(image, name, question, offered, gold, source, quota, **about), by)

    @writes
    def _add(self, connection: Connection, image: StoredImage, png: bytes, by: str) -> StoredImage:
        now_us = self.now_us()
        lane_of(connection, image.project)  # checks it
        if put_image(connection, image, png, by, now_us):
            write_audit(connection, now_us, by, ADDED, image.sha256, name=image.name)
        return find_image(connection, image.sha256)

    @reads
    def image(self, connection: Connection, sha256: str) -> StoredImage:
        """Return an image without its pixels."""
        return find_image(connection, sha256)

    @reads
    def png(self, connection: Connection, sha256: str) -> bytes:
        """Return the pixels as a PNG file without metadata."""
        query = select(PIXELS.c.png).join(IMAGES, IMAGES.c.id == PIXELS.c.image_id).where(IMAGES.c.sha256 == sha256)
        png: bytes | None = connection.scalar(query)
        if png is None:
            raise StoreError(NO_IMAGE)
        return png

    def pixels(self, sha256: str) -> Image.Image:
        """Return the upright pixels, mode "L" or "RGB".

        Raises:
            ImageError: too many images are being read.
        """
        file = BytesIO(self.png(sha256))
        with limit_decoding() as reserve, Image.open(file, formats=("PNG",)) as image:
            reserve(image.width * image.height)
            image.load()
            return image.copy()

    @reads
    def images(self, connection: Connection, after: str = "", limit: int = 1000) -> list[StoredImage]:
        """Return images in the order of their digests, from the one behind `after`."""
        query = select(*IMAGE).where(IMAGES.c.sha256 > after).order_by(IMAGES.c.sha256).limit(limit)
        return [StoredImage(*row) for row in connection.execute(query)]

    def all_images(self) -> Iterator[StoredImage]:
        """Yield all images in the order of their digests."""
        after = ""
        while page := self.images(after):
            yield from page
            after = page[-1].sha256

    @writes
    def set_open(self, connection: Connection, sha256: str, open_: bool, by: str) -> None:
        """Give an image out as a task from now on, or no longer."""
        image = lock_image(connection, sha256)
        offered = connection.scalar(select(IMAGES.c.offered).where(IMAGES.c.id == image.id))
        if image.open == open_ and (offered or not open_):
            return
        set_columns(connection, image.id, open=open_, offered=offered or open_)
        image.open = open_
        save_entry(connection, image)
        write_audit(connection, self.now_us(), by, "image opened" if open_ else "image closed", sha256)

    @writes
    def set_task(
        self, connection: Connection, sha256: str, by: str, *, question: str | None = None, quota: int | None = None,
        priority: int | None = None, project: str | None = None,
    ) -> None:  # fmt: skip
        """Change what is asked about an image, how many annotators it wants, when it comes, or the project that it is
        in; None leaves a part.

        What was submitted stays as it is. Where the project's question was asked, that of the new one is asked.

        Raises:
            StoreError: no such image or project, no question, a quota or a priority that is none.
        """
        wanted: dict[str, Any] = {"question": question, "quota": quota, "priority": priority, "project": project}
        if question is not None:
            wanted["question"] = checked_text("The question", question, LONGEST_QUESTION)
        if quota is not None:
            check_quota(quota)
        if priority not in (None, *PRIORITIES):
            raise StoreError(f"The priority is one of {', '.join(PRIORITIES.values())}; choose one of them.")
        image, before = lock_image(connection, sha256), find_image(connection, sha256)
        if project is not None:
            lane_of(connection, project)
            usual = {one.slug: one.question for one in connection.execute(select(PROJECTS))}
            if question is None and before.question == usual[before.project]:
                wanted["question"] = usual[project]
        changed = {name: value for name, value in wanted.items() if value not in (None, getattr(before, name))}
        if not changed:
            return
        set_columns(connection, image.id, **changed)
        save_entry(connection, lock_image(connection, image.id))
        write_audit(connection, self.now_us(), by, "task changed", sha256, **changed)

    def close_done(self, least: int, by: str, project: str = MAIN_PROJECT) -> int:
        """Close all tasks of a project that have so many annotations, gold images aside; return how many.

        Args:
            least: annotations toward the quota.
            by: who decides.
            project: that they are in.

        Raises:
            StoreError: fewer than one.
        """
        check_quota(least)
        done = select(IMAGES.c.sha256).where(IMAGES.c.open, IMAGES.c.gold.is_(None), IMAGES.c.done >= least)
        done = done.where(IMAGES.c.project == project)
        digests = self.database.read(lambda connection: list(connection.scalars(done.order_by(IMAGES.c.sha256))))
        for sha256 in digests:  # one by one: each is a short transaction, and what comes in meanwhile waits for none
            self.set_open(sha256, False, by)
        return len(digests)

    @writes
    def set_gold(
        self, connection: Connection, sha256: str, gold: Scanpath | None, by: str, *, gold_from: Collection[str] = ()
    ) -> None:
        """Make an image a gold image with a known path, or a usual one again.

        Args:
            connection: given by the store.
            sha256: of the image.
            gold: the path; None for a usual image.
            by: who decides.
            gold_from: pseudonyms of the annotators whose submissions the path was taken or chosen from; how near they
                come to it says nothing.
        """
        image, before = lock_image(connection, sha256), find_image(connection, sha256)
        whose = tuple(sorted(set(gold_from))) if gold else ()
        if (before.gold, before.gold_from) == (gold, whose):
            return
        write_gold(connection, image, gold, whose, self.now_us(), by)


def encode_picture(image: Image.Image) -> tuple[str, bytes]:
    """Return the digest of an upright 8-bit image, and its PNG without metadata, grey where the channels are equal.

    Args:
        image: mode "L" or "RGB", as `load_image` gives it.

    Raises:
        StoreError: another mode, or a size outside the limits.
    """
    if image.mode not in ("L", "RGB"):
        raise StoreError(f"An image of mode {image.mode} cannot be stored; load it with load_image.")
    try:
        check_size(image.width, image.height)
    except ImageError as error:
        raise StoreError(str(error)) from None
    plain, file = grey_if_equal(image), BytesIO()
    Image.frombytes(plain.mode, plain.size, plain.tobytes()).save(file, "PNG", compress_level=PNG_EFFORT)
    return pixel_digest(plain), file.getvalue()


def new_image(
    pixels: Image.Image, name: str, question: str, open_: bool, gold: Scanpath | None, source: str, quota: int,
    **about: Any,
) -> tuple[StoredImage, bytes]:  # fmt: skip
    """Return an image to be stored and its PNG, checked; `about` are further fields of a `StoredImage`.

    Raises:
        StoreError: pixels, a question or a quota that cannot be.
    """
    sha256, png = encode_picture(pixels)
    image = StoredImage(
        sha256, shown_name(name), pixels.width, pixels.height, question, open_, gold, source, quota, **about
    )  # fmt: skip
    check_image(image)
    return image, png


def shown_name(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a file's name as it may be shown: one line, not too long."""
    plain = "".join(sign for sign in name if unicodedata.category(sign)[0] != "C").strip()
    return plain[-longest:] or "image"


def check_image(image: StoredImage) -> None:
    """Refuse a question, a number of annotators, a patient or metadata that are none.

    Raises:
        StoreError: no text, or out of range.
    """
    checked_text("The question", image.question, LONGEST_QUESTION)
    checked_text("The patient", image.patient_id, LONGEST_PATIENT, empty=True)
    checked_metadata(image.metadata)
    check_quota(image.quota)


def check_quota(quota: int) -> None:
    """Refuse a number of annotators that is none.

    Raises:
        StoreError: out of range.
    """
    if not 1 <= quota <= MOST_QUOTA:
        raise StoreError(f"An image wants 1 to {MOST_QUOTA:,} annotators, not {quota}; give another quota.")


def find_image(connection: Connection, sha256: str) -> StoredImage:
    """Return the image, without its pixels.

    Raises:
        StoreError: there is no such image.
    """
    row = connection.execute(select(*IMAGE).where(IMAGES.c.sha256 == sha256)).first()
    if row is None:
        raise StoreError(NO_IMAGE)
    return StoredImage(*row)


def set_columns(connection: Connection, key: int, **values: Any) -> None:
    """Write columns of an image that is locked."""
    connection.execute(update(IMAGES).where(IMAGES.c.id == key).values(values))


def insert_image(connection: Connection, image: StoredImage, png: bytes) -> None:
    """Add an image that is not there, at the end of its band."""
    added = IMAGES.insert().values(**values_of(IMAGES, image), offered=image.open).returning(IMAGES.c.id)
    key = connection.execute(added).scalar_one()
    connection.execute(PIXELS.insert().values(image_id=key, png=png))
    save_entry(connection, lock_image(connection, key))


def write_gold(
    connection: Connection, image: QueueEntry, gold: Scanpath | None, gold_from: tuple[str, ...], now_us: int, by: str,
    **details: object,
) -> None:  # fmt: skip
    """Give an image that is locked a gold path and say whose it is, or take it away; the audit log tells."""
    set_columns(connection, image.id, gold=gold, gold_from=gold_from)
    image.is_gold = gold is not None
    save_entry(connection, image)
    write_audit(connection, now_us, by, GOLD_SET if gold is not None else GOLD_GONE, image.sha256, **details)


def update_image(connection: Connection, image: StoredImage, *, offered: bool) -> None:
    """Say something else of an image that is there."""
    key = lock_image(connection, image.sha256).id
    set_columns(connection, key, **values_of(IMAGES, image), offered=offered)
    save_entry(connection, lock_image(connection, key))


def put_image(connection: Connection, image: StoredImage, png: bytes, by: str, now_us: int) -> bool:
    """Store an image, or find it; return whether it is new.

    What is there stays as it is; but an image that nobody had offered yet is offered now, and one without gold gets it.
    The audit log tells what changed of an image that was there, and so the published copy learns of it, too.
    """
    offered = connection.scalar(select(IMAGES.c.offered).where(IMAGES.c.sha256 == image.sha256).with_for_update())
    if offered is None:
        insert_image(connection, image, png)
        return True
    known = find_image(connection, image.sha256)
    now, log = known, dict[str, dict[str, object]]()
    if image.open and not offered:
        now = replace(
            image, gold=known.gold, gold_from=known.gold_from, priority=known.priority,
            patient_id=known.patient_id or image.patient_id, metadata={**image.metadata, **known.metadata},
        )  # fmt: skip
        log["image opened"] = {"name": known.name, "question": known.question, "quota": known.quota}  # as they were
    if image.gold is not None and known.gold is None:
        now = replace(now, gold=image.gold)
        log[GOLD_SET] = {}
    if log:
        update_image(connection, now, offered=offered or image.open)
    for action, details in log.items():
        write_audit(connection, now_us, by, action, image.sha256, **details)
    return False
