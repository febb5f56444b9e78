"""What admins decide about single images: whether they are tasks, and whether their path is known."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from annotate.dashboard.part import Part
from annotate.export.folder import submissions_of
from annotate.quality.consensus import Consensus, consensus
from annotate.store.lookup import ImageState, ListedImage, listed_image, listed_images
from annotate.store.types import Stored, StoreError
from web.identity import Claim

PAGE = 50
MOST_OFFERED = 200  # submissions to choose a gold path from
ONLY = "This is one annotator's path alone, or none; choose the submission yourself."
FEWEST = 2  # annotators that make a consensus


@dataclass(frozen=True, eq=False)
class ImageView:
    """An image as an admin sees it.

    Args:
        listed: the image.
        pixels: of it.
        stored: its submissions that are neither rejected nor removed; gold may be taken from one.
        consensus: what gold from the consensus would be; None without submissions.
    """

    listed: ListedImage
    pixels: Image.Image
    stored: list[Stored]
    consensus: Consensus | None


class ImagesPart(Part):
    """For admins."""

    def page(self, claim: Claim, state: ImageState, after: str = "") -> list[ListedImage]:
        """Images in a state, PAGE at a time, by digest.

        Raises:
            NotAllowed: not an admin.
            StoreError: there is no such state.
        """
        self.gate.admit(claim, "read", "admin")
        return listed_images(self.store, state, after, PAGE)

    def view(self, claim: Claim, sha256: str) -> ImageView:
        """One image with its pixels and submissions.

        Raises:
            NotAllowed: not an admin.
            StoreError: there is no such image.
        """
        self.gate.admit(claim, "read", "admin")
        listed = listed_image(self.store, sha256)
        stored = self._usable(sha256)
        return ImageView(listed, self.store.pixels(sha256), stored[-MOST_OFFERED:], consensus(stored[-MOST_OFFERED:]))

    def set_open(self, claim: Claim, sha256: str, is_open: bool) -> None:
        """Offer an image as a task, an annotator's own one too, or close it.

        Raises:
            NotAllowed: not an admin.
            StoreError: there is no such image.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        self.store.set_open(sha256, is_open, visitor.pseudonym)

    def set_gold(self, claim: Claim, sha256: str, submission_id: str | Literal[""] = "") -> None:
        """Make an image a gold image, with the path of a submission or of the consensus.

        Args:
            claim: who asks.
            sha256: of the image.
            submission_id: whose path it is; "" for the consensus of at least two annotators.

        Raises:
            NotAllowed: not an admin.
            StoreError: no such image, no such submission on it, or no consensus.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        stored = self._usable(sha256)
        if submission_id:
            chosen = next((one for one in stored if one.annotation.submission_id == submission_id), None)
            if chosen is None:
                raise StoreError("This image has no such submission that may be used; choose another one.")
            makers: tuple[str, ...] = (chosen.annotation.annotator,)
            path = chosen.annotation.scanpath
        else:
            common = consensus(stored[-MOST_OFFERED:])
            if common is None or common.annotators < FEWEST:
                raise StoreError(ONLY)
            path, makers = common.scanpath, common.among
        self.store.set_gold(sha256, path, visitor.pseudonym, gold_from=makers)

    def clear_gold(self, claim: Claim, sha256: str) -> None:
        """Make a gold image an usual one again.

        Raises:
            NotAllowed: not an admin.
            StoreError: there is no such image.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        self.store.set_gold(sha256, None, visitor.pseudonym)

    def _usable(self, sha256: str) -> list[Stored]:
        return submissions_of(self.store, sha256, ["pending", "accepted"])
