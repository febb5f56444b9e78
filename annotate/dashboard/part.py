"""What every part of the dashboard stands on: the store, and the gate that each method asks by itself."""

from annotate.store.store import AnnotationStore
from web.identity import Gate

MOST_SURVEYED = 20_000  # annotations; a survey of more takes longer than anybody waits for a page


class Part:
    """Some methods that belong together. Each takes a claim and lets the gate admit it before anything else.

    Args:
        store: that is shown and changed.
        gate: who asks, and whether they may.
    """

    def __init__(self, store: AnnotationStore, gate: Gate) -> None:
        self.store, self.gate = store, gate
