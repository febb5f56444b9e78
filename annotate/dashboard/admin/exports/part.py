"""What admins take out of the store, and bring back."""

import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotate.dashboard.admin.exports.unpack import unpack
from annotate.dashboard.part import Part
from annotate.export.folder import FORMATS, Which, export_store, files_below
from annotate.export.intake import Imported, import_folder
from annotate.store.store import AnnotationStore
from annotate.store.types import StoreError
from annotate.store.values import write_audit
from web.identity import Claim, Gate

PACKED = (".png", ".parquet", ".jpg")  # hardly get any smaller
NO_UPLOAD = "Choose the zip archive of an export first."
NO_ROOM = "The server's disk takes no more ({reason}); make room and try again. Nothing was left behind."
LONGEST_LICENCE = 60


@dataclass(frozen=True)
class Archive:
    """An export as one file.

    Args:
        path: of it.
        counts: what it holds, as its export.json says.
    """

    path: Path
    counts: dict[str, Any]


class ExportsPart(Part):
    """For admins.

    Args:
        store, gate: as in `Part`.
        folder: data folder; work is done in folders there that nobody else can read.
    """

    def __init__(self, store: AnnotationStore, gate: Gate, folder: Path) -> None:
        super().__init__(store, gate)
        self._folder = folder

    def export(
        self, claim: Claim, target: Path, *, which: Which = "all", formats: Collection[str] = tuple(FORMATS),
        licence: str = "", names: bool = False,
    ) -> Archive:  # fmt: skip
        """Write the store as a zip archive.

        Args:
            claim: who asks.
            target: new folder, which takes the archive; nobody should be able to list it.
            which, formats, licence, names: as in `export_store`.

        Raises:
            NotAllowed: not an admin.
            StoreError: a wrong choice, or no room; nothing is left behind.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        if which not in ("all", "accepted"):
            raise StoreError("Choose whether all submissions are exported, or the accepted ones.")
        licence = licence.strip()
        if len(licence) > LONGEST_LICENCE or not licence.isprintable():
            raise StoreError(f"A licence has up to {LONGEST_LICENCE} characters, such as cc-by-4.0; change it.")
        name = f"annotations-{which}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        with self._room() as room:
            done = export_store(
                self.store, room / name, which=which, names=bool(names), formats=formats, licence=licence
            )  # fmt: skip
            packed = room / f"{name}.zip"
            _pack(done.folder, packed)
            target.mkdir(parents=True, mode=0o700)
            path = Path(shutil.move(packed, target / packed.name))
        now_us, details = self.store.now_us(), {"names": bool(names), "formats": sorted(formats)}
        self.store.database.write(
            lambda session: write_audit(session, now_us, visitor.pseudonym, "exported", which, **details)
        )
        return Archive(path, done.counts)

    def take_back(self, claim: Claim, upload: Path | None) -> Imported:
        """Take in the archive of an export: all of it, or nothing where a line of it is bad.

        It leaves no entry in the audit log, which comes back itself: the store is the same again.

        Raises:
            NotAllowed: not an admin.
            StoreError: no archive, one that may not be unpacked, no export, or a bad line.
        """
        self.gate.admit(claim, "upload", "admin")
        if upload is None or not upload.is_file():
            raise StoreError(NO_UPLOAD)
        with self._room() as room:
            return import_folder(self.store, unpack(upload, room / "unpacked"))

    @contextmanager
    def _room(self) -> Iterator[Path]:
        """A folder that nobody else can read, and that is gone afterwards."""
        room: Path | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            room = Path(tempfile.mkdtemp(prefix="work-", dir=self._folder))
            yield room
        except OSError as error:
            raise StoreError(NO_ROOM.format(reason=error.strerror or type(error).__name__)) from None
        finally:
            if room is not None:
                shutil.rmtree(room, ignore_errors=True)


def _pack(folder: Path, target: Path) -> None:
    """A folder as a zip archive, with a folder of its name inside."""
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
        for path in files_below(folder):
            how = zipfile.ZIP_STORED if path.suffix in PACKED else zipfile.ZIP_DEFLATED
            archive.write(path, Path(folder.name) / path.relative_to(folder), how)
