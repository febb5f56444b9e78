"""Opens what Teach runs on: the store, the gate, the worker of batch imports, and the copy on the Hub."""

import logging
import threading
from dataclasses import dataclass, field

from PIL import Image

from annotate.identity import Gate
from annotate.settings import AnnotateSettings
from annotate.store.imports import run_next_import
from annotate.store.store import AnnotationStore
from annotate.store.types import StoreError, StoreSettings
from annotate.sync.hub import HubError
from annotate.sync.worker import HubSync
from gazevlm_core.phantom.make import make_phantom

IDLE_S, TROUBLE_S = 3.0, 30.0
STARTERS, FIRST_SEED, STARTER_PX = 12, 910_000, 336
STARTER_SOURCE = "drawn by this program"
PROGRAM = "program"  # who adds what nobody asked for
log = logging.getLogger(__name__)


@dataclass
class Teaching:
    """What Teach runs on, until `close`.

    Args:
        store: of the annotations.
        gate: who is who.
        sync: the copy on the Hub; None where no repository is set.
    """

    store: AnnotationStore
    gate: Gate
    sync: HubSync | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Run imports and the sync, each in a thread of its own."""
        threading.Thread(target=self._import, name="imports", daemon=True).start()
        if self.sync is not None:
            self.sync.start()
            self.sync.flush_at_exit()

    def close(self) -> None:
        """Sync a last time, and close the store."""
        self._ended.set()
        if self.sync is not None:
            self.sync.stop()
        self.store.close()

    def _import(self) -> None:
        wait_s = 0.0
        while not self._ended.wait(wait_s):
            try:
                wait_s = 0.0 if run_next_import(self.store) else IDLE_S
            except StoreError as error:  # a full disk, a database that is away: the import goes on later
                log.warning("A batch import waits: %s", error)
                wait_s = TROUBLE_S
            except Exception:  # a file that breaks a decoder must not end all imports to come
                log.exception("A batch import failed")
                wait_s = TROUBLE_S


def open_teaching(settings: AnnotateSettings) -> Teaching:
    """Open the store, fetch what only the Hub has, and give an empty store its first images. Nothing runs yet.

    Args:
        settings: from the environment.

    Raises:
        StoreError: no database, or a repository that is not this store's or cannot be reached while the store is
            empty: a store that began anew would give out numbers that the repository has.
    """
    of_store = StoreSettings(quota=settings.quota, secret=settings.pseudonym_key)
    store = AnnotationStore.open(settings.folder, settings.database_url, of_store)
    try:
        sync = _synced(store, settings) if settings.sync_repo else None
        if settings.starters and not store.images(limit=1):
            _add_starters(store)
    except BaseException:
        store.close()
        raise
    return Teaching(store, Gate(settings, store.pseudonym), sync)


def _synced(store: AnnotationStore, settings: AnnotateSettings) -> HubSync:
    sync = HubSync.open(store, settings.sync_repo, settings.folder)
    try:
        sync.restore()
    except HubError as error:
        if not store.images(limit=1):
            raise StoreError(f"{settings.sync_repo} cannot be read, and the store here is empty: {error}") from None
        log.warning("Annotations are saved here; %s is tried again later: %s", settings.sync_repo, error)
    return sync


def _add_starters(store: AnnotationStore) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + STARTERS):
        image = Image.fromarray(make_phantom(seed, size_px=STARTER_PX).image)
        store.add_image(image, f"phantom {seed}", source=STARTER_SOURCE, by=PROGRAM)
