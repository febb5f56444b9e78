"""Submits to a store until it is killed: a process that forks a fresh writer for each line it reads.

    python -m tests.annotate.crash_child FOLDER URL SHA256 ANNOTATOR
"""

import os
import sys
from itertools import count
from pathlib import Path

from annotate.store.store import AnnotationStore
from tests.annotate.store_maker import annotate


def submit_forever(store: AnnotationStore, sha256: str, who: str, prefix: str) -> None:
    """Tell each receipt only after `submit` returned."""
    for number in count():
        receipt = store.submit(annotate(sha256, who, f"{prefix}-{number}"))
        os.write(1, f"{receipt.submission_id} {receipt.number} {receipt.digest}\n".encode())


def main() -> None:
    folder, url, sha256, who = sys.argv[1:]
    store = AnnotationStore.open(Path(folder), url)
    store.submit(annotate(sha256, who, "warm"))  # so that the writers begin at once
    os.write(1, b"ready\n")
    for line in sys.stdin:
        store.close()  # no connection is shared with the writer, which opens its own
        child = os.fork()
        if not child:
            submit_forever(store, sha256, who, line.strip())
        os.write(1, f"pid {child}\n".encode())
        os.waitpid(child, 0)
        os.write(1, b"dead\n")


if __name__ == "__main__":
    main()
