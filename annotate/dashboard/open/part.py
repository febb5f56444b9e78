"""What everybody may know, with or without a name; limited by address where nobody is named."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from annotate.dashboard.part import Part
from annotate.export.receipts import ReceiptCheck, check_receipt
from annotate.store.lookup import count_annotators
from annotate.store.store import AnnotationStore
from annotate.store.types import Counts
from annotate.sync.worker import SyncState
from frame.identity import LOGIN, Claim, Gate, NotAllowed, Role, Visitor

NAME = "Choose a name first; any will do. It is the same as in the Teach tab."
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


@dataclass(frozen=True)
class Welcome:
    """Who asks, as the server sees them.

    Args:
        visitor: None where nobody is named.
        problem: what to do to be somebody; "" where there is nothing to do.
    """

    visitor: Visitor | None
    problem: str = ""

    @property
    def roles(self) -> frozenset[Role]:
        """What they may do; nothing where nobody is named."""
        return self.visitor.roles if self.visitor else frozenset()


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
        self._admit(claim)
        return Totals(self.store.counts(), count_annotators(self.store), self._sync_state())

    def receipt(self, claim: Claim, text: str) -> ReceiptCheck:
        """Whether the store holds the submission of a receipt.

        Raises:
            NotAllowed: too many requests.
            ValueError: nothing was typed.
        """
        self._admit(claim)
        if not text.strip():
            raise ValueError("Type the ten characters of a receipt first.")
        return check_receipt(self.store, text[:LONGEST_RECEIPT])

    def welcome(self, claim: Claim) -> Welcome:
        """Who asks; a name without a token is an annotator.

        Raises:
            NotAllowed: a wrong token, a name that cannot be used, or too many requests.
        """
        if self._is_named(claim):
            return Welcome(self.gate.admit(claim, "read"))
        self.gate.check_rate(claim, "read")
        return Welcome(None, NAME if self.gate.asks_name else LOGIN)

    def _admit(self, claim: Claim) -> None:
        """Everybody, though not too often; a name that cannot be used or a wrong token count as nobody."""
        if self._is_named(claim):
            with suppress(NotAllowed):
                self.gate.admit(claim, "read")  # counts before it makes anybody known to the store
                return
        self.gate.check_rate(claim, "read")

    def _is_named(self, claim: Claim) -> bool:
        return bool(claim.name if self.gate.asks_name else claim.login)
