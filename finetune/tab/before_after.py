"""Before and after: two viewers with the same held-out image, the base's path in one, the adapter's in the other."""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from finetune.tab.runs import ImagePair, Points
from gazevlm_core.images import load_image
from web.formatting import short_name
from web.markup import heading, note
from web.page import Values
from web.viewer.component import ScanpathViewer
from web.viewer.payload import Role, ViewerFixation, ViewerPath, ViewerPayload

NONE_YET = "What the base and the adapter say of held-out images is shown here once the training has come so far."
FOR_REVIEWERS = (
    "Reviewers and admins see held-out images here, as the base and as the adapter looks at them; others saw them in "
    "Teach, if they were given them."
)
UNTRAINED = "The gaze is untrained: no path is shown."
TARGET = "What was taught"
SIDES = ("Before: the base", "After: the adapter")
DIGEST = re.compile("[0-9a-f]{64}")


class PairView:
    """Shows one held-out image twice; whoever holds the run handles `choose`, which picks the image."""

    def __init__(self) -> None:
        gr.HTML(heading("Before and after, on images that were held out"))
        self.note = gr.HTML(note(NONE_YET), elem_id="adapt-pair-note")
        with gr.Column(elem_id="adapt-pair"):
            self.choose = gr.Dropdown([], label="Held-out image", filterable=False, elem_id="adapt-pair-image")
            with gr.Row():
                with gr.Column(min_width=280):
                    self.before = ScanpathViewer(elem_id="adapt-before")
                    self.answer_before = gr.HTML(elem_id="adapt-said-before")
                with gr.Column(min_width=280):
                    self.after = ScanpathViewer(elem_id="adapt-after")
                    self.answer_after = gr.HTML(elem_id="adapt-said-after")
        self.shown: list[Any] = [
            self.note, self.choose, self.before, self.after, self.answer_before, self.answer_after
        ]  # fmt: skip

    def show(self, pairs: Sequence[ImagePair], image_id: object = None) -> Values:
        """Show one of some pairs: the one with that image, else the first; say so where there is none."""
        if not pairs:
            return self.show_nothing(NONE_YET)
        pair = next((one for one in pairs if one.image_id == image_id), pairs[0])
        image, choices = load_image(pair.image).image, image_choices([one.image_id for one in pairs])
        return {
            self.note: note(f"Asked: {pair.question}"),
            self.choose: gr.Dropdown(choices, value=pair.image_id, interactive=len(pairs) > 1),
            self.before: self._view(image, pair, pair.before, 0),
            self.after: self._view(image, pair, pair.after, 1),
            self.answer_before: answer_html(SIDES[0], pair.answer_before, pair.before),
            self.answer_after: answer_html(SIDES[1], pair.answer_after, pair.after),
        }

    def show_nothing(self, why: str) -> Values:
        """Show no image, and a sentence."""
        empty = ViewerPayload()
        return {
            self.note: note(why), self.choose: gr.Dropdown([], value=None), self.before: empty, self.after: empty,
            self.answer_before: "", self.answer_after: "",
        }  # fmt: skip

    def _view(self, image: Image.Image, pair: ImagePair, points: Points | None, side: int) -> ViewerPayload:
        role: Role = "second model" if side == 0 else "model"
        both: tuple[tuple[str, Role, Points | None], ...] = (
            (SIDES[side], role, points), (TARGET, "reader", pair.target)
        )  # fmt: skip
        paths = [
            ViewerPath(name=name, role=style, fixations=[ViewerFixation(x=x, y=y) for x, y in found])
            for name, style, found in both if found
        ]  # fmt: skip
        words = f"{SIDES[side]}, a held-out image"
        return self.before.show(image, paths, description=words, in_step=True, linked="before and after")


def image_choices(image_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Return images for a list, what is shown and the id: by their place, and by a name where that is no digest."""
    names = ["" if DIGEST.fullmatch(one) else f": {short_name(one)}" for one in image_ids]
    return [
        (f"{place} of {len(image_ids)}{name}", one)
        for place, (one, name) in enumerate(zip(image_ids, names, strict=True), start=1)
    ]


def answer_html(side: str, answer: str, points: Points | None) -> str:
    """Return an answer as HTML, escaped, with a note where its gaze is untrained."""
    untrained = "" if points is not None else note(UNTRAINED)
    words = escape(answer) if answer else "(no words)"
    return f'<figure class="adapt-said"><figcaption>{escape(side)}</figcaption><p>{words}</p>{untrained}</figure>'
