"""Every real data set by the name that commands take, with what its adapter needs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gazevlm_core.datasets.chexpert import CheXpert
from gazevlm_core.datasets.egd_cxr import EgdCxr
from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.datasets.gaze_search import GazeSearch
from gazevlm_core.datasets.mimic_cxr import MimicCxrLabels
from gazevlm_core.datasets.mimic_eye import MimicEye
from gazevlm_core.datasets.nih import NihChestXray14
from gazevlm_core.datasets.record import DatasetError, StudySource
from gazevlm_core.datasets.reflacx import Reflacx
from gazevlm_core.datasets.rsna import RsnaPneumonia
from gazevlm_core.datasets.siim import SiimPneumothorax
from gazevlm_core.datasets.vinbig import VinBig

Opener = Callable[[Path], StudySource]


@dataclass(frozen=True)
class Adapter:
    """How a data set is opened.

    Args:
        open_root: from its folder alone; None where its images lie elsewhere.
        open_with_images: from its folder and that of its images; None where they lie together.
        gaze: whether it has scanpaths.
    """

    open_root: Opener | None = None
    open_with_images: Callable[[Path, Path], StudySource] | None = None
    gaze: bool = False


ADAPTERS: dict[str, Adapter] = {
    "reflacx": Adapter(open_with_images=Reflacx, gaze=True),
    "egd-cxr": Adapter(open_with_images=EgdCxr, gaze=True),
    "mimic-eye": Adapter(MimicEye, gaze=True),
    "gazesearch": Adapter(open_with_images=GazeSearch, gaze=True),
    "folder": Adapter(GazeFolder, gaze=True),
    "rsna": Adapter(RsnaPneumonia),
    "siim": Adapter(SiimPneumothorax),
    "vinbig": Adapter(VinBig),
    "chexpert": Adapter(CheXpert),
    "mimic-cxr": Adapter(MimicCxrLabels),
    "nih": Adapter(NihChestXray14),
}


def wanted_images(name: str, root: Path) -> Iterator[str]:
    """Image files that a data set's tables ask for, each once, in their order; the images need not be there.

    Args:
        name: one of ADAPTERS.
        root: its folder; for "gazesearch", its JSON file.

    Raises:
        DatasetError: an unknown name, nothing at `root`, or a table that cannot be read.
    """
    adapter = _adapter(name, root)
    if adapter.open_root is GazeFolder:
        source: StudySource = GazeFolder(root, without_images=True)
    elif adapter.open_root is not None:
        source = adapter.open_root(root)
    else:
        assert adapter.open_with_images is not None
        source = adapter.open_with_images(root, root)
    yield from dict.fromkeys(source.image_files())


def open_dataset(name: str, root: Path, images: Path | None = None) -> StudySource:
    """A data set, unread.

    Args:
        name: one of ADAPTERS.
        root: its folder; for "gazesearch", its JSON file.
        images: folder of the images, where they lie elsewhere.

    Raises:
        DatasetError: an unknown name, nothing at `root`, or a folder of images that is needed or useless.
    """
    adapter = _adapter(name, root)
    if adapter.open_root is not None:
        if images is not None:
            raise DatasetError(f"{name}: its images lie in its own folder; leave out the folder of images")
        return adapter.open_root(root)
    assert adapter.open_with_images is not None
    if images is None:
        raise DatasetError(f"{name}: its images lie elsewhere; give their folder as well")
    if not images.is_dir():
        raise DatasetError(f"{name}: there is no folder of images at {images}; check its path")
    return adapter.open_with_images(root, images)


def _adapter(name: str, root: Path) -> Adapter:
    adapter = ADAPTERS.get(name)
    if adapter is None:
        raise DatasetError(f"there is no data set {name!r}; choose one of: {', '.join(ADAPTERS)}")
    if not root.exists():
        raise DatasetError(f"{name}: there is nothing at {root}")
    return adapter
