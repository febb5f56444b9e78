"""What everybody may know, with or without a name; limited by address where nobody is named."""

from collections.abc import Callable
from dataclasses import dataclass

from annotate.dashboard.part import Part
from annotate.export.receipts import ReceiptCheck, check_receipt
from annotate.store.lookup import count_annotators
from annotate.store.store import AnnotationStore
from annotate.store.types import Counts
from annotate.sync.worker import SyncState
from web.identity import Claim, Gate
from web.welcome import Welcome, look_on, welcome

LONGEST_RECEIPT = 40  # typed with hyphens and blanks


@dataclass(frozen=True)
class Totals:
    """How much there is, and where it is safe.

    Args:
        counts: of the store.
        annotators: people with a submission.
        sync: of the repository; None where the store is not synced anywhere.
    """

    counts: Counts
    annotators: int
    sync: SyncState | None


class OpenPart(Part):
    """See the module.

    Args:
        store, gate: as in `Part`.
        sync_state: what is synced; None where nothing is.
    """

    def __init__(self, store: AnnotationStore, gate: Gate, sync_state: Callable[[], SyncState | None]) -> None:
        super().__init__(store, gate)
        self._sync_state = sync_state

    def totals(self, claim: Claim) -> Totals:
        """How much there is, and where it is safe.

        Raises:
            NotAllowed: too many requests.
        """
        look_on(self.gate, claim)
        return Totals(self.store.counts(), count_annotators(self.store), self._sync_state())

    def receipt(self, claim: Claim, text: str) -> ReceiptCheck:
        """Whether the store holds the submission of a receipt.

        Raises:
            NotAllowed: too many requests.
            ValueError: nothing was typed.
        """
        look_on(self.gate, claim)
        if not text.strip():
            raise ValueError("Type the ten characters of a receipt first.")
        return check_receipt(self.store, text[:LONGEST_RECEIPT])

    def welcome(self, claim: Claim) -> Welcome:
        """Who asks; a name without a token is an annotator.

        Raises:
            NotAllowed: a wrong token, a name that cannot be used, or too many requests.
        """
        return welcome(self.gate, claim)
