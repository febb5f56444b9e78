"""Opens the jobs of an app: `open_jobs(data, adapters)`, then `start` and `close`."""

from pathlib import Path

from finetune.jobs.service import JobService

JOBS = "jobs"


def open_jobs(data: Path, adapters: Path) -> JobService:
    """The jobs in DATA/jobs; nothing runs yet.

    Args:
        data: folder of all that the app keeps.
        adapters: folder that finished adapters go to, where Diagnose finds them.

    Raises:
        JobError: a folder cannot be made.
    """
    return JobService(data / JOBS, adapters)
