"""Load radiographs: PNG, JPEG, WebP, TIFF or DICOM from a path, bytes or a stream to upright 8-bit RGB.

Any failure is one `ImageError` of one sentence; nothing is written to disk, and no file name, DICOM tag or EXIF field
is kept or logged. Importing this package needs only numpy and Pillow; pydicom is imported with the first DICOM file.
"""

from gazevlm_core.images.base import MAX_BYTES, ImageError
from gazevlm_core.images.color import is_colored, load_radiograph
from gazevlm_core.images.file_types import IMAGE_SUFFIXES, iter_image_files
from gazevlm_core.images.load import LoadedImage, load_image, open_image
from gazevlm_core.images.raster import as_rgb

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "ImageError",
    "LoadedImage",
    "as_rgb",
    "is_colored",
    "iter_image_files",
    "load_image",
    "load_radiograph",
    "open_image",
]
