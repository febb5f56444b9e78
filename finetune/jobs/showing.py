"""A job as the tab shows it, quick enough to be asked for every two seconds."""

from collections.abc import Collection
from pathlib import Path

from finetune.jobs.job import Job
from finetune.jobs.shelf import Entry
from finetune.records import PROVENANCE_FILE


def shown(entry: Entry, adapters: Path, entries: Collection[Entry]) -> Job:
    """A job with its progress.

    Args:
        entry: of the job.
        adapters: folder of the adapters.
        entries: all, of which a later one may have made an adapter of the same name.
    """
    record, progress = entry.record, entry.progress
    progress.update()
    return Job(
        job_id=record.job_id,
        name=record.name,
        state=record.state,
        cause=record.cause,
        config=entry.config,
        creator=record.creator,
        created_at_s=record.created_at_s,
        begun_at_s=record.begun_at_s or record.started_at_s,
        worked_s=record.worked_s,
        ended_at_s=record.ended_at_s,
        step=progress.step,
        steps=progress.steps,
        eta_s=progress.eta_s if record.state == "running" else None,
        adapter=_made_by(entry, adapters, entries),
        folder=entry.folder,
    )


def _made_by(entry: Entry, adapters: Path, entries: Collection[Entry]) -> Path | None:
    """The adapter that a job made, if it is still there; its name may have been used again since."""
    record, adapter = entry.record, adapters / entry.record.name
    if record.state != "done" or not (adapter / PROVENANCE_FILE).is_file():
        return None
    namesakes = [other.record for other in entries if other.record.name == record.name]
    ended_s = [other.ended_at_s or 0.0 for other in namesakes if other.state == "done"]
    return adapter if record.ended_at_s == max(ended_s) else None
