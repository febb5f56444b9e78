"""Open what Teach runs on: the store, the gate, the Annotations tab with its imports, and the copy on the Hub."""

import logging
from dataclasses import dataclass

from PIL import Image

from annotate.dashboard.page import DashboardService
from annotate.store.model import StoreError
from annotate.store.store import AnnotationStore
from annotate.sync.worker import HubSync
from gazevlm_core.findings import FINDING_NAMES
from phantoms.make import make_phantom
from web.hub import HubError
from web.identity import Gate
from web.settings import Settings

STARTERS, FIRST_SEED, STARTER_PX = 12, 910_000, 336
STARTER_SOURCE = "drawn by this program"
PROGRAM = "program"  # who does what nobody asked for
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teaching:
    """What Teach runs on, until `close`."""

    store: AnnotationStore  # of the annotations
    gate: Gate  # who is who
    dashboard: DashboardService  # what the Annotations tab can do
    findings: tuple[str, ...] = ()  # that can be ticked beside those that the phantoms have
    sync: HubSync | None = None  # the copy on the Hub; None where no repository is set

    def start(self) -> None:
        """Run imports and the sync, each in a thread of its own."""
        self.dashboard.worker.start()
        if self.sync is not None:
            self.sync.start()
            self.sync.flush_at_exit()

    def close(self) -> None:
        """Sync a last time, and close the store."""
        self.dashboard.worker.stop()
        if self.sync is not None:
            self.sync.stop()
        self.store.close()


def open_teaching(settings: Settings) -> Teaching:
    """Open the store, fetch what only the Hub has, and give an empty store its first images. Nothing runs yet.

    Args:
        settings: from the environment.

    Raises:
        StoreError: no database, or a repository that is not this store's or cannot be read while the store is
            empty: a store that began anew would give out numbers that the repository has.
    """
    store = AnnotationStore.of_settings(settings)
    try:
        sync = _synced(store, settings) if settings.sync_repo else None
        store.drop_stale_gold(PROGRAM)
        if settings.starters and not store.images(limit=1):
            _add_starters(store)
    except BaseException:
        store.close()
        raise
    gate = Gate(settings, store.pseudonym)
    state, wake = (sync.state, sync.wake) if sync else (_not_synced, _not_synced)
    findings = dict.fromkeys((*FINDING_NAMES, *settings.findings))
    dashboard = DashboardService(store, gate, state, wake, settings.data, tuple(findings))
    return Teaching(store, gate, dashboard, settings.findings, sync)


def _not_synced() -> None:
    """The state of a store that is copied nowhere."""


def _synced(store: AnnotationStore, settings: Settings) -> HubSync:
    sync = HubSync.open(store, settings.sync_repo, settings.data)
    try:
        sync.restore()
    except (HubError, OSError) as error:  # the Hub, or the disk here
        if not store.images(limit=1):
            raise StoreError(f"{settings.sync_repo} cannot be read, and the store here is empty: {error}") from None
        log.warning("Annotations are saved here; %s is tried again later: %s", settings.sync_repo, error)
    return sync


def _add_starters(store: AnnotationStore) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + STARTERS):
        image = Image.fromarray(make_phantom(seed, size_px=STARTER_PX).image)
        store.add_image(image, f"phantom {seed}", source=STARTER_SOURCE, by=PROGRAM)
