"""Is a receipt in a published export, and is everything in it as it was handed in? Needs no store."""

from dataclasses import dataclass, field
from pathlib import Path

from annotate.export.folder import MANIFEST, file_digest, files_below
from annotate.export.parquet import DATA, FLAT
from annotate.export.read import read_manifest, records_of, source_of
from annotate.export.sinks import IMAGES
from annotate.store.submissions import receipt_key
from annotate.store.types import Stored, StoreError

NO_MORE_IN = (DATA, FLAT, IMAGES)  # a further file there would be taken for a part of the data


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
        digest: that the receipt told, whole or its beginning; "" where the receipt id is enough.

    Raises:
        StoreError: no export.
    """
    manifest = read_manifest(folder)
    result = Verification()
    wanted = receipt_key(receipt_id)
    for item in records_of(folder, source_of(manifest)):
        if not isinstance(item.value, Stored):
            result.bad.append(f"{item.where}: {item.error}")
            continue
        result.records += 1
        receipt = item.value.receipt
        if wanted and receipt.receipt_id == wanted and receipt.digest.startswith(digest.strip().lower()):
            result.found = item.value
    if result.records + len(result.bad) != manifest["counts"].get("submissions"):
        told = manifest["counts"].get("submissions")
        result.bad.append(f"{MANIFEST} tells of {told} submissions, of which {result.records} are there")
    result.bad += changed_files(folder)
    return result


def changed_files(folder: Path) -> list[str]:
    """One sentence per file that is missing, or not as it was written, and per new one among the data and images.

    Raises:
        StoreError: no export.
    """
    told = read_manifest(folder)["files"]
    there = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    there.pop(MANIFEST, None)
    changed = [f"{name} is missing" for name in sorted(set(told) - set(there))]
    changed += [f"{name} is new" for name in sorted(set(there) - set(told)) if name.split("/")[0] in NO_MORE_IN]
    for name in sorted(set(told) & set(there)):
        try:
            if file_digest(there[name]) != told[name]:
                changed.append(f"{name} was changed")
        except OSError as error:
            raise StoreError(f"Cannot read {name}: {error.strerror}.") from None
    return changed
