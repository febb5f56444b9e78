"""What admins do to get images into the store; the imports themselves are done in the background."""

import os
import re
import secrets
import shutil
from pathlib import Path

from annotate.dashboard.admin.intake.worker import ImportWorker
from annotate.dashboard.part import Part
from annotate.store.archives import check_directory
from annotate.store.store import AnnotationStore
from annotate.store.types import ImportKind, ImportStatus, StoreError
from web.identity import Claim, Gate

NOT_KEPT = "The archive could not be kept ({reason}); make room on the server's disk and try again."
NO_UPLOAD = "Choose a zip archive first."


class IntakePart(Part):
    """For admins.

    Args:
        store, gate: as in `Part`.
        worker: does the imports.
    """

    def __init__(self, store: AnnotationStore, gate: Gate, worker: ImportWorker) -> None:
        super().__init__(store, gate)
        self._worker = worker

    def folder(self, claim: Claim, where: str, question: str, quota: float | None) -> int:
        """Import a folder of the server; returns the import's number.

        Raises:
            NotAllowed: not an admin.
            StoreError: no such folder, no question, or a quota that is none.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        where = where.strip()
        if not where or not os.path.isdir(where):  # which is False where no path can be that long
            raise StoreError("There is no such folder on the server; check the path.")
        return self._queue("folder", where, visitor.pseudonym, question, quota)

    def hub(self, claim: Claim, where: str, question: str, quota: float | None) -> int:
        """Import a data set of the Hub, "owner/name" or "owner/name:split"; returns the import's number.

        Raises:
            NotAllowed: not an admin.
            StoreError: no name, no question, or a quota that is none.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        where = where.strip()
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?(:[\w.\-\[\]%:+]+)?", where):
            raise StoreError("This is no name of a data set; write owner/name, or owner/name:split.")
        return self._queue("hub", where, visitor.pseudonym, question, quota)

    def archive(self, claim: Claim, upload: Path | None, question: str, quota: float | None) -> int:
        """Import an uploaded zip archive, of which a copy is kept until that has ended; returns the import's number.

        Args:
            claim: who asks.
            upload: the file; it stays where it is.
            question: what annotators are asked.
            quota: annotators that each image wants; None for the store's.

        Raises:
            NotAllowed: not an admin.
            StoreError: no archive, no room for it, no question, or a quota that is none.
        """
        visitor = self.gate.admit(claim, "upload", "admin")
        if upload is None or not upload.is_file():
            raise StoreError(NO_UPLOAD)
        check_directory(upload)
        room = self._worker.folder / secrets.token_hex(8)
        kept = room / _plain(upload.name)
        try:
            room.mkdir(parents=True)
            shutil.copyfile(upload, kept)
            return self._queue("zip", str(kept), visitor.pseudonym, question, quota)
        except (OSError, StoreError) as error:
            shutil.rmtree(room, ignore_errors=True)
            if isinstance(error, StoreError):
                raise
            raise StoreError(NOT_KEPT.format(reason=error.strerror)) from None

    def imports(self, claim: Claim) -> list[ImportStatus]:
        """All imports and how far they are, the latest first.

        Raises:
            NotAllowed: not an admin.
        """
        self.gate.admit(claim, "read", "admin")
        return self.store.imports()

    def _queue(self, kind: ImportKind, where: str, by: str, question: str, quota: float | None) -> int:
        whole = isinstance(quota, int) or (isinstance(quota, float) and quota.is_integer())
        if quota is not None and not whole:
            raise StoreError("How many annotators an image wants is a whole number; change it.")
        number = self.store.queue_import(kind, where, by, question, None if quota is None else int(quota))
        self._worker.wake()
        return number


def _plain(name: str) -> str:
    """A file's name in letters, digits, dots and hyphens, ending in .zip."""
    stem = re.sub(r"[^\w.-]+", "_", Path(name).stem, flags=re.ASCII)[:60]
    return f"{stem or 'archive'}.zip"
