"""The audit log, the latest entry first; and the sync, at once."""

from collections.abc import Callable

from annotate.dashboard.part import Part
from annotate.store.lookup import latest_audit
from annotate.store.store import AnnotationStore
from annotate.store.types import AuditEntry, StoreError
from annotate.sync.worker import SyncState
from web.identity import Claim, Gate

PAGE = 50


class LogPart(Part):
    """For admins.

    Args:
        store, gate: as in `Part`.
        sync_state: what is synced; None where nothing is.
        wake_sync: syncs in the background.
    """

    def __init__(
        self,
        store: AnnotationStore,
        gate: Gate,
        sync_state: Callable[[], SyncState | None],
        wake_sync: Callable[[], None],
    ) -> None:
        super().__init__(store, gate)
        self._sync_state, self._wake_sync = sync_state, wake_sync

    def page(self, claim: Claim, before: int | None = None) -> list[AuditEntry]:
        """PAGE entries of the audit log, the latest first.

        Args:
            claim: who asks.
            before: only those with a smaller number; None for the latest.

        Raises:
            NotAllowed: not an admin.
        """
        self.gate.admit(claim, "read", "admin")
        return latest_audit(self.store, PAGE, before=before)

    def sync_now(self, claim: Claim) -> None:
        """Begin to sync, in the background.

        Raises:
            NotAllowed: not an admin.
            StoreError: this store is not synced anywhere.
        """
        self.gate.admit(claim, "administer", "admin")
        if self._sync_state() is None:
            raise StoreError("This store is not synced anywhere; set GAZEVLM_SYNC_REPO and start again.")
        self._wake_sync()
