"""One JSON line per thing that a store holds: the form in which everything leaves it. `parse` reads it back."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from annotate.store.types import AuditEntry, Person, Skip, Stored, StoredImage
from gazevlm_core.annotation import canonical_json, to_values


def record_values(stored: Stored) -> dict[str, Any]:
    """A submission as JSON values."""
    return {
        "number": stored.number,
        "image_id": stored.image_sha256,
        "receipt": stored.receipt.receipt_id,
        "digest": stored.receipt.digest,
        "kind": stored.kind,
        "verdict": stored.verdict,
        "reason": stored.reason,
        "removed": stored.removed,
        "revision": stored.revision,
        "record": to_values(stored.annotation),
    }


def verdict_values(stored: Stored) -> dict[str, Any]:
    """What happened to a submission, as JSON values."""
    values = record_values(stored)
    kept = {name: values[name] for name in ("number", "verdict", "reason", "removed", "revision")}
    return {**kept, "submission_id": stored.annotation.submission_id}


def image_values(image: StoredImage) -> dict[str, Any]:
    """An image as JSON values; `image_id`, the digest of its pixels, is its name in every file."""
    values = asdict(image)
    return {"image_id": values.pop("sha256"), **values, "gold_from": list(image.gold_from)}


def skip_values(skip: Skip) -> dict[str, Any]:
    """A skip as JSON values."""
    values = asdict(skip)
    return {"image_id": values.pop("image_sha256"), **values, "at": _text_of(skip.at)}


def audit_values(entry: AuditEntry) -> dict[str, Any]:
    """An entry of the audit log as JSON values."""
    return {**asdict(entry), "at": _text_of(entry.at)}


def person_values(person: Person, *, names: bool) -> dict[str, Any]:
    """An annotator as JSON values."""
    return {"pseudonym": person.pseudonym, "name": person.name if names else None}


def json_line(values: dict[str, Any]) -> str:
    """One line, with its end."""
    return canonical_json(values) + "\n"


def _text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
