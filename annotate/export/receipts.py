"""Whether the store holds the submission of a receipt: for anybody, so its content and its maker are not told."""

from dataclasses import dataclass

from annotate.store.store import AnnotationStore


@dataclass(frozen=True)
class ReceiptCheck:
    """What anybody may know about a receipt.

    Args:
        present: whether the store holds its submission. One that was taken out later is held all the same.
        receipt_id: as the store writes it; "" where it is not there.
        digest: SHA-256 of the record; "" where it is not there.
        number: of the submission; 0 where it is not there.
    """

    present: bool
    receipt_id: str = ""
    digest: str = ""
    number: int = 0

    @property
    def sentence(self) -> str:
        """For the page."""
        if not self.present:
            return "There is no submission with this receipt here; check its ten characters."
        return f"Submission {self.number} is kept here. Receipt {self.receipt_id}, SHA-256 {self.digest}."


def check_receipt(store: AnnotationStore, receipt_id: str) -> ReceiptCheck:
    """Look a receipt up.

    Args:
        store: to be asked.
        receipt_id: as somebody typed it.
    """
    found = store.find_receipt(receipt_id)
    if found is None:
        return ReceiptCheck(False)
    return ReceiptCheck(True, found.receipt.receipt_id, found.receipt.digest, found.number)
