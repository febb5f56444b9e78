"""Every real data set by the name that commands take; a new adapter is one file and one line here."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from gazevlm_core.datasets.chexpert import CheXpert
from gazevlm_core.datasets.egd_cxr import EgdCxr
from gazevlm_core.datasets.eye_crowd import EyeCrowd
from gazevlm_core.datasets.folder import GazeFolder
from gazevlm_core.datasets.gaze_search import GazeSearch
from gazevlm_core.datasets.kermany import Kermany
from gazevlm_core.datasets.mimic_cxr import MimicCxrLabels
from gazevlm_core.datasets.mimic_eye import MimicEye
from gazevlm_core.datasets.nih import NihChestXray14
from gazevlm_core.datasets.reflacx import Reflacx
from gazevlm_core.datasets.rsna import RsnaPneumonia
from gazevlm_core.datasets.siim import SiimPneumothorax
from gazevlm_core.datasets.siim_gaze import SiimGaze
from gazevlm_core.datasets.source import DataSource
from gazevlm_core.datasets.vinbig import VinBig
from gazevlm_core.sample import DatasetError

ADAPTERS: Mapping[str, type[DataSource]] = {
    "reflacx": Reflacx,
    "egd-cxr": EgdCxr,
    "mimic-eye": MimicEye,
    "gazesearch": GazeSearch,
    "folder": GazeFolder,
    "rsna": RsnaPneumonia,
    "siim": SiimPneumothorax,
    "vinbig": VinBig,
    "chexpert": CheXpert,
    "mimic-cxr": MimicCxrLabels,
    "nih": NihChestXray14,
    "kermany": Kermany,
    "siim-gaze": SiimGaze,
    "eyecrowd": EyeCrowd,
}


_ID_SPACES = {adapter.name: adapter.id_space for adapter in ADAPTERS.values() if adapter.id_space}


def id_space(dataset: str) -> str:
    """Return whose ids the patients of a data set have: two of one id are the same patient only within one of these.

    Gaze folders are one all together: nobody can tell two exports of one store from those of two.

    Args:
        dataset: from `Sample.dataset`; "" where it is not known.
    """
    return _ID_SPACES.get(dataset, dataset)


def wanted_images(name: str, root: Path) -> Iterator[str]:
    """Yield the image files that a data set's tables ask for, each once, in their order; they need not be there.

    Args:
        name: one of ADAPTERS.
        root: its folder; for "gazesearch", its JSON file.

    Raises:
        DatasetError: an unknown name, nothing at `root`, or a table that cannot be read.
    """
    adapter = _adapter(name, root)
    yield from (adapter(root, root) if adapter.images_apart else adapter(root)).image_files()


def open_dataset(name: str, root: Path, images: Path | None = None) -> DataSource:
    """Return a data set, unread.

    Args:
        name: one of ADAPTERS.
        root: its folder; for "gazesearch", its JSON file.
        images: folder of the images, where they lie elsewhere.

    Raises:
        DatasetError: an unknown name, nothing at `root`, or a folder of images that is needed or useless.
    """
    adapter = _adapter(name, root)
    if not adapter.images_apart:
        if images is not None:
            raise DatasetError(f"{name}: its images lie in its own folder; leave out the folder of images")
        return adapter(root)
    if images is None and adapter.images_optional:
        return adapter(root)
    if images is None:
        raise DatasetError(f"{name}: its images lie elsewhere; give their folder as well")
    if not images.is_dir():
        raise DatasetError(f"{name}: there is no folder of images at {images}; check its path")
    return adapter(root, images)


def _adapter(name: str, root: Path) -> type[DataSource]:
    adapter = ADAPTERS.get(name)
    if adapter is None:
        raise DatasetError(f"there is no data set {name!r}; choose one of: {', '.join(ADAPTERS)}")
    if not root.exists():
        raise DatasetError(f"{name}: there is nothing at {root}")
    return adapter
