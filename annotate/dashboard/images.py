"""What admins decide about single images: whether they are tasks, and whether their path is known."""

from dataclasses import dataclass
from html import escape
from typing import Literal

import gradio as gr
from PIL import Image

from annotate.dashboard.review_detail import choice_of, picture_uri
from annotate.export.folder import submissions_of
from annotate.quality.consensus import Consensus, consensus
from annotate.store.lookup import ImageState, ListedImage, listed_image, listed_images
from annotate.store.model import Stored, StoreError
from annotate.store.store import AnnotationStore
from web.formatting import score, short_digest, short_name
from web.identity import Claim, Gate
from web.markup import note, status
from web.page import QUIET, Values, remembered, told
from web.sign_in import Entry

PAGE = 50
MOST_OFFERED = 200  # submissions to choose a gold path from
ONLY = "This is one annotator's path alone, or none; choose the submission yourself."
FEWEST = 2  # annotators that make a consensus
STATES = [("own images of annotators", "own"), ("given out", "open"), ("closed", "closed"), ("gold", "gold")]
SHOWN_PX = 480
CONSENSUS = ("the consensus", "")
WHAT = (
    "An annotator's own image is nobody else's task until it is offered here: look whether it may be shown to others. "
    "A gold image has a known path; it is given to everybody once, unannounced, and tells how an annotator compares."
)
EMPTY = "There is no such image."


@dataclass(frozen=True, eq=False)
class ShownImage:
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


class ImagesService:
    """For admins.

    Args:
        store: that is shown and changed.
        gate: who asks, and whether they may.
    """

    def __init__(self, store: AnnotationStore, gate: Gate) -> None:
        self.store, self.gate = store, gate

    def page(self, claim: Claim, state: ImageState, after: str = "") -> list[ListedImage]:
        """Images in a state, PAGE at a time, by digest.

        Raises:
            NotAllowed: not an admin.
            StoreError: there is no such state.
        """
        self.gate.admit(claim, "read", "admin")
        return listed_images(self.store, state, after, PAGE)

    def view(self, claim: Claim, sha256: str) -> ShownImage:
        """One image with its pixels and submissions.

        Raises:
            NotAllowed: not an admin.
            StoreError: there is no such image.
        """
        self.gate.admit(claim, "read", "admin")
        listed = listed_image(self.store, sha256)
        stored = self._usable(sha256)
        return ShownImage(listed, self.store.pixels(sha256), stored[-MOST_OFFERED:], consensus(stored[-MOST_OFFERED:]))

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


class ImagesView:
    """Components and handlers.

    Args:
        service: does everything.
        entry: who asks.
    """

    def __init__(self, service: ImagesService, entry: Entry) -> None:
        self.service, self.entry = service, entry
        gr.HTML(note(WHAT))
        with gr.Row(elem_classes="dashboard-line"):
            self.state = gr.Radio(
                STATES, value="own", label="Images", min_width=280, scale=3, elem_id="dashboard-image-state"
            )
            self.image = gr.Dropdown(label="Image", min_width=240, scale=3, elem_id="dashboard-image")
            self.more = gr.Button("More", min_width=80, scale=0, elem_id="dashboard-image-more")
        self.status = gr.HTML(status(""), elem_id="dashboard-image-status")
        with gr.Row():
            with gr.Column(scale=3, min_width=280):
                self.picture = gr.HTML(elem_id="dashboard-picture")
            with gr.Column(scale=2, min_width=260):
                with gr.Row(elem_classes="dashboard-verdicts"):
                    self.offer = gr.Button("Offer as a task", min_width=110, elem_id="dashboard-offer")
                    self.close = gr.Button("Close", min_width=90, elem_id="dashboard-close")
                self.path = gr.Dropdown([CONSENSUS], value="", label="Known path from", elem_id="dashboard-gold-from")
                with gr.Row(elem_classes="dashboard-verdicts"):
                    self.gold = gr.Button("Make it gold", min_width=110, elem_id="dashboard-gold")
                    self.usual = gr.Button("No longer gold", min_width=110, elem_id="dashboard-usual")
        self.last = remembered("")  # digest of the last image that is listed
        self._connect()

    def _connect(self) -> None:
        token, image = self.entry.token, self.image
        shown = [self.image, self.more, self.last, self.status, self.picture, self.path]
        self.state.input(self._begin, [token, self.state], shown, **QUIET)
        self.more.click(self._more, [token, self.state, self.last], shown, **QUIET)
        one = [self.status, self.picture, self.path]
        image.input(self._open, [token, image], one, **QUIET)
        self.offer.click(self._offer, [token, image], one, **QUIET)
        self.close.click(self._close, [token, image], one, **QUIET)
        self.gold.click(self._gold, [token, image, self.path], one, **QUIET)
        self.usual.click(self._usual, [token, image], one, **QUIET)

    def first(self, claim: Claim) -> Values:
        """Own images to begin with; for admins."""
        return self._page(claim, "own", "")

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @told
    def _begin(self, token: str, state: ImageState, request: gr.Request) -> Values:
        return self._page(self.entry.claim(request, token), state, "")

    @told
    def _more(self, token: str, state: ImageState, last: str, request: gr.Request) -> Values:
        return self._page(self.entry.claim(request, token), state, last)

    @told
    def _open(self, token: str, sha256: str | None, request: gr.Request) -> Values:
        return self._showing(self.service.view(self.entry.claim(request, token), sha256 or ""))

    @told
    def _offer(self, token: str, sha256: str | None, request: gr.Request) -> Values:
        claim = self.entry.claim(request, token)
        self.service.set_open(claim, sha256 or "", True)
        return self._showing(self.service.view(claim, sha256 or ""), "Given out from now on. ")

    @told
    def _close(self, token: str, sha256: str | None, request: gr.Request) -> Values:
        claim = self.entry.claim(request, token)
        self.service.set_open(claim, sha256 or "", False)
        return self._showing(self.service.view(claim, sha256 or ""), "No longer given out. ")

    @told
    def _gold(self, token: str, sha256: str | None, submission_id: str | None, request: gr.Request) -> Values:
        claim = self.entry.claim(request, token)
        self.service.set_gold(claim, sha256 or "", submission_id or "")
        return self._showing(self.service.view(claim, sha256 or ""), "A gold image from now on. ")

    @told
    def _usual(self, token: str, sha256: str | None, request: gr.Request) -> Values:
        claim = self.entry.claim(request, token)
        self.service.clear_gold(claim, sha256 or "")
        return self._showing(self.service.view(claim, sha256 or ""), "No longer a gold image. ")

    # ---- what is shown ----------------------------------------------------------------------------------------------
    def _page(self, claim: Claim, state: ImageState, after: str) -> Values:
        listed = self.service.page(claim, state, after)
        more = {self.more: gr.Button("More" if len(listed) == PAGE else "From the start")}
        if not listed:
            nothing = {self.image: gr.Dropdown([], value=None), self.status: status(EMPTY), self.picture: ""}
            return {**more, **nothing, self.last: "", self.path: gr.Dropdown([CONSENSUS], value="")}
        first = listed[0].image.sha256
        return {
            **more,
            **self._showing(self.service.view(claim, first), f"{len(listed)} listed. "),
            self.image: gr.Dropdown([(_choice(one), one.image.sha256) for one in listed], value=first),
            self.last: listed[-1].image.sha256 if len(listed) == PAGE else "",
        }

    def _showing(self, view: ShownImage, done: str = "") -> Values:
        paths = [CONSENSUS, *(choice_of(one) for one in view.stored)]
        return {
            self.status: status(done + _facts(view)),
            self.picture: _picture(view),
            self.path: gr.Dropdown(paths, value=""),
        }


def _choice(listed: ListedImage) -> str:
    image = listed.image
    return f"{short_name(image.name)}, {short_digest(image.sha256)}, {listed.submissions} submissions"


def _facts(view: ShownImage) -> str:
    listed, image = view.listed, view.listed.image
    state = "given out" if image.open else ("closed" if listed.offered else "an annotator's own image")
    gold = f"; gold, a path of {len(image.gold)}" if image.gold is not None else ""
    common = view.consensus
    agree = f"; consensus of {common.annotators}, {score(common.score)}" if common is not None else ""
    return f"{short_name(image.name)}: {state}{gold}; {listed.submissions} submissions of {image.quota} wanted{agree}."


def _picture(view: ShownImage) -> str:
    image = view.listed.image
    alt = escape(f"Image {short_digest(image.sha256)}")
    size = f"{image.width_px} x {image.height_px} px. Asked: {image.question}"
    return (
        f'<figure class="dashboard-picture"><img src="{picture_uri(view.pixels, SHOWN_PX)}" alt="{alt}">'
        f"<figcaption>{escape(size)}</figcaption></figure>"
    )
