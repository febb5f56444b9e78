"""Images of the store: their pixels once, as PNG without metadata, under the digest of the pixels."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotate.store.schema import ImageRow, PixelRow
from annotate.store.types import StoredImage, StoreError
from annotate.store.values import (
    checked_text,
    image_id_of,
    image_of,
    locked_image,
    path_to_text,
    shown_name,
    write_audit,
)
from annotate.store.wanted import requeue
from gazevlm_core.annotation import pixel_digest
from gazevlm_core.images.base import DEFAULT_LIMITS, ImageError, check_size
from gazevlm_core.images.decode_limit import limit_decoding
from gazevlm_core.scanpath import Scanpath

PNG_EFFORT = 3  # of 9: a third of the time of the usual 6, a few percent larger
MOST_QUOTA = 1_000_000


@dataclass(frozen=True)
class Picture:
    """Pixels ready to be stored.

    Args:
        sha256: `pixel_digest` of them.
        width_px, height_px: size.
        png: grey where the channels are equal, else RGB; no metadata.
    """

    sha256: str
    width_px: int
    height_px: int
    png: bytes


def encode_picture(image: Image.Image) -> Picture:
    """An upright 8-bit image as it is stored; nothing but its pixels is taken over.

    Args:
        image: mode "L" or "RGB", as `load_image` gives it.

    Raises:
        StoreError: another mode, or a size outside the limits.
    """
    if image.mode not in ("L", "RGB"):
        raise StoreError(f"An image of mode {image.mode} cannot be stored; load it with load_image.")
    try:
        check_size(image.width, image.height, DEFAULT_LIMITS)
    except ImageError as error:
        raise StoreError(str(error)) from None
    pixels = np.asarray(image)  # uint8 [H, W] or [H, W, 3]
    if pixels.ndim == 3 and not (pixels != pixels[..., :1]).any():
        pixels = np.ascontiguousarray(pixels[..., 0])
    mode, data = "L" if pixels.ndim == 2 else "RGB", pixels.tobytes()
    file = BytesIO()
    Image.frombytes(mode, image.size, data).save(file, "PNG", compress_level=PNG_EFFORT)
    return Picture(pixel_digest(mode, image.width, image.height, data), image.width, image.height, file.getvalue())


def decode_png(png: bytes) -> Image.Image:
    """The pixels of a stored PNG.

    Raises:
        ImageError: too many images are being read.
    """
    with limit_decoding() as reserve, Image.open(BytesIO(png), formats=("PNG",)) as image:
        reserve(image.width * image.height)
        image.load()
        return image.copy()


@dataclass(frozen=True)
class Offer:
    """What is said about an image that is added; as in `AnnotationStore.add_image`."""

    name: str
    question: str
    gold: Scanpath | None
    quota: int
    source: str
    offered: bool

    def __post_init__(self) -> None:
        checked_text("The question", self.question, 2_000)
        check_quota(self.quota)


def check_quota(quota: int) -> None:
    """Refuse a number of annotators that is none.

    Raises:
        StoreError: out of range.
    """
    if not 1 <= quota <= MOST_QUOTA:
        raise StoreError(f"An image wants 1 to {MOST_QUOTA:,} annotators, not {quota}; give another quota.")


def put_picture(session: Session, picture: Picture, offer: Offer, by: str, now_us: int) -> tuple[ImageRow, bool]:
    """Store an image, or find it; whether it is new.

    What is there stays as it is; but an image that nobody had offered yet is offered now, and one without gold gets it.
    The audit log tells what changed of an image that was there, and so the published copy learns of it, too.
    """
    changes: dict[str, dict[str, object]] = {}
    row = session.scalar(select(ImageRow).where(ImageRow.sha256 == picture.sha256).with_for_update())
    is_new = row is None
    if row is None:
        row = ImageRow(
            sha256=picture.sha256, name=shown_name(offer.name), width_px=picture.width_px, height_px=picture.height_px,
            question=offer.question, offered=False, open=False, gold=None, source=offer.source, quota=offer.quota,
            done=0, leased=0, agreement=None, band=None, position=0,
        )  # fmt: skip
        session.add(row)
        session.flush()
        session.add(PixelRow(image_id=row.id, png=picture.png))
        session.flush()
    if offer.offered and not row.offered:
        if not is_new:
            changes["image opened"] = {"name": row.name, "question": row.question, "quota": row.quota}  # as they were
        row.offered, row.open = True, True
        row.name, row.source = shown_name(offer.name), offer.source
        row.question, row.quota = offer.question, offer.quota
    if offer.gold is not None and row.gold is None:
        row.gold = path_to_text(offer.gold)
        if not is_new:
            changes["gold set"] = {}
    requeue(session, [row])
    for action, details in changes.items():
        write_audit(session, now_us, by, action, row.sha256, **details)
    return row, is_new


def find_image(session: Session, sha256: str) -> StoredImage:
    """The image, without its pixels.

    Raises:
        StoreError: there is no such image.
    """
    return image_of(session.get_one(ImageRow, image_id_of(session, sha256)))


def find_png(session: Session, sha256: str) -> bytes:
    """The PNG of an image.

    Raises:
        StoreError: there is no such image.
    """
    return session.get_one(PixelRow, image_id_of(session, sha256)).png


def list_images(session: Session, after: str, limit: int) -> list[StoredImage]:
    """Images in the order of their digests."""
    query = select(ImageRow).where(ImageRow.sha256 > after).order_by(ImageRow.sha256).limit(limit)
    return [image_of(row) for row in session.scalars(query)]


def set_open(session: Session, sha256: str, is_open: bool, by: str, now_us: int) -> None:
    """Give an image out as a task from now on, or no longer."""
    row = locked_image(session, image_id_of(session, sha256))
    if row.open == is_open and (row.offered or not is_open):
        return
    row.open, row.offered = is_open, row.offered or is_open
    requeue(session, [row])
    write_audit(session, now_us, by, "image opened" if is_open else "image closed", sha256)


def set_gold(
    session: Session, sha256: str, gold: Scanpath | None, gold_from: Collection[str], by: str, now_us: int
) -> None:
    """Make an image a gold image, or an usual one again."""
    row = locked_image(session, image_id_of(session, sha256))
    before = row.gold, row.gold_from
    row.gold, row.gold_from = path_to_text(gold), json.dumps(sorted(set(gold_from)) if gold else [])
    if before == (row.gold, row.gold_from):
        return
    requeue(session, [row])
    write_audit(session, now_us, by, "gold set" if gold is not None else "gold taken away", sha256)
