"""An app that runs jobs until it is killed: a process that forks a fresh one for each line it reads.

    python -m tests.finetune.jobs_app PLACE

The lines name a job that the app shall submit, or nothing. Tells the process id of each app, and when it is dead.
"""

import os
import sys
import time
from pathlib import Path

from finetune.jobs.job import RESUMABLE
from tests.finetune.jobs_maker import configure, open_service, write_data

STEPS = 60


def be_an_app(place: Path, name: str) -> None:
    """Submit a job, resume what can be resumed, pause and go on at times; never come back."""
    service = open_service(place)
    service.start()
    if name:
        service.submit(name, configure(STEPS), "reader-1", write_data)
    while True:
        for job in service.jobs():
            if job.state in RESUMABLE:
                service.resume(job.job_id)
            elif job.state == "running" and job.step % 7 == 3:
                service.pause(job.job_id)
        time.sleep(0.003)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            be_an_app(Path(sys.argv[1]), line.strip())
        os.write(1, f"{child}\n".encode())
        os.waitpid(child, 0)
        os.write(1, b"dead\n")


if __name__ == "__main__":
    main()
