"""What the Annotations tab can do, without a page: its parts by what they are for and by who may use them."""

from collections.abc import Callable
from pathlib import Path

from annotate.dashboard.admin.exports.part import ExportsPart
from annotate.dashboard.admin.images.part import ImagesPart
from annotate.dashboard.admin.intake.part import IntakePart
from annotate.dashboard.admin.intake.worker import ImportWorker
from annotate.dashboard.admin.log.part import LogPart
from annotate.dashboard.open.part import OpenPart
from annotate.dashboard.quality.part import QualityPart, SurveyCache
from annotate.dashboard.review.part import ReviewPart
from annotate.store.store import AnnotationStore
from annotate.sync.worker import SyncState
from web.identity import Gate


class DashboardService:
    """The logic of the tab. Every method of every part takes a claim and checks it; a refusal is one sentence.

    Args:
        store: everything is in it.
        gate: who asks, and whether they may.
        sync_state: what is synced; returns None where the store is not synced anywhere.
        wake_sync: syncs at once, in the background.
        folder: data folder, for uploaded archives and for work on exports.

    Attributes:
        open: for everybody.
        quality, review: for reviewers.
        intake, images, exports, log: for admins.
        worker: does the imports; `start` it once, so that those that were left behind go on.
    """

    def __init__(
        self,
        store: AnnotationStore,
        gate: Gate,
        sync_state: Callable[[], SyncState | None],
        wake_sync: Callable[[], None],
        folder: Path,
    ) -> None:
        self.gate = gate
        self.worker = ImportWorker(store, folder)
        surveys = SurveyCache(store)
        self.open = OpenPart(store, gate, sync_state)
        self.quality = QualityPart(store, gate, surveys)
        self.review = ReviewPart(store, gate, surveys)
        self.intake = IntakePart(store, gate, self.worker)
        self.images = ImagesPart(store, gate)
        self.exports = ExportsPart(store, gate, folder)
        self.log = LogPart(store, gate, sync_state, wake_sync)
