"""Is a receipt in a store, or in a published export, and is everything in that as it was handed in?"""

from dataclasses import dataclass, field
from pathlib import Path

from annotate.export.folder import MANIFEST, file_digest, files_below
from annotate.export.formats import IMAGES, formats
from annotate.export.importer import read_images_and_submissions, read_manifest
from annotate.store.model import Stored, StoreError
from annotate.store.store import AnnotationStore
from annotate.store.submissions import receipt_key


def receipt_sentence(store: AnnotationStore, receipt_id: str) -> str:
    """Return whether a store holds the submission of a receipt, for anybody: nothing of its content and its maker.

    Args:
        store: to be asked. What was taken out later is held all the same.
        receipt_id: as somebody typed it.
    """
    found = store.find_receipt(receipt_id)
    if found is None:
        return "There is no submission with this receipt here; check its ten characters."
    return f"Submission {found.number} is kept here. Receipt {found.receipt_id}, SHA-256 {found.digest}."


@dataclass
class Verification:
    """What was found.

    Args:
        records: how many submissions were read, each digest computed again.
        bad: one sentence per record or file that is not as it should be.
        found: the submission of the receipt that was asked for; None where it is not there.
    """

    records: int = 0
    bad: list[str] = field(default_factory=list)
    found: Stored | None = None


def verify_export(folder: Path, receipt_id: str = "", digest: str = "") -> Verification:
    """Compute every digest again.

    Args:
        folder: of the export.
        receipt_id: to be looked for; as somebody typed it. "" for none.
        digest: given with the receipt, whole or its beginning; "" where the receipt id is enough.

    Raises:
        StoreError: no export.
    """
    manifest = read_manifest(folder)
    result = Verification()
    wanted = receipt_key(receipt_id)
    met = 0
    for item in read_images_and_submissions(folder, manifest):
        stored = item.value
        met += item.kind is Stored
        if item.error:
            result.bad.append(f"{item.where}: {item.error}")
        elif isinstance(stored, Stored):
            result.records += 1
            if wanted and stored.receipt_id == wanted and stored.digest.startswith(digest.strip().lower()):
                result.found = stored
    stated = manifest["counts"].get("submissions")
    if met != stated:
        result.bad.append(f"{MANIFEST} tells of {stated} submissions, of which {result.records} are there")
    result.bad += changed_files(folder)
    return result


def changed_files(folder: Path) -> list[str]:
    """Return a sentence for each file that is missing or not as it was written, and each new one among data and images.

    Raises:
        StoreError: no export.
    """
    stated = read_manifest(folder)["files"]
    parts = {IMAGES, *(name for one in formats().values() for name in one.files if "." not in name)}  # folders
    there = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    there.pop(MANIFEST, None)
    changed = [f"{name} is missing" for name in sorted(set(stated) - set(there))]
    new = sorted(set(there) - set(stated))  # in a folder of data or images it would be taken for a part of them
    changed += [f"{name} is new" for name in new if name.split("/")[0] in parts]
    for name in sorted(set(stated) & set(there)):
        try:
            if file_digest(there[name]) != stated[name]:
                changed.append(f"{name} was changed")
        except OSError as error:
            raise StoreError(f"Cannot read {name}: {error.strerror}.") from None
    return changed
