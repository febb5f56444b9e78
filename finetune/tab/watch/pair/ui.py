"""Before and after: two viewers with the same held-out image, the base's path in one, the adapter's in the other."""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from finetune.tab.before_after import Pair, Points
from gazevlm_core.images import load_image
from web.markup import note
from web.page import Values
from web.viewer.component import ScanpathViewer
from web.viewer.payload import Role, ViewerFixation, ViewerPath, ViewerPayload

NONE_YET = "What the base and the adapter say of held-out images is shown here once the training has come so far."
FOR_REVIEWERS = (
    "Reviewers and admins see held-out images here, as the base and as the adapter looks at them; others saw them in "
    "Teach, if they were given them."
)
UNTRAINED = "The gaze is untrained: no path is shown."
TAUGHT = "What was taught"
SIDES = ("Before: the base", "After: the adapter")


class PairView:
    """Components; `choose` picks the image, and its handler is given by whoever holds the run."""

    def __init__(self) -> None:
        gr.HTML('<h3 class="gaze-heading">Before and after, on images that were held out</h3>')
        self.note = gr.HTML(note(NONE_YET), elem_id="adapt-pair-note")
        with gr.Column(elem_id="adapt-pair"):
            self.choose = gr.Dropdown([], label="Held-out image", filterable=False, elem_id="adapt-pair-image")
            with gr.Row():
                with gr.Column(min_width=280):
                    self.before = ScanpathViewer(elem_id="adapt-before")
                    self.said_before = gr.HTML(elem_id="adapt-said-before")
                with gr.Column(min_width=280):
                    self.after = ScanpathViewer(elem_id="adapt-after")
                    self.said_after = gr.HTML(elem_id="adapt-said-after")
        self.shown: list[Any] = [
            self.note, self.choose, self.before, self.after, self.said_before, self.said_after
        ]  # fmt: skip

    def showing(self, pairs: Sequence[Pair], image: object = None) -> Values:
        """One of some pairs, or that there is none.

        Args:
            pairs: of a run.
            image: id of the image; the first one unless it is one of theirs.
        """
        if not pairs:
            return self.nothing(NONE_YET)
        pair = next((one for one in pairs if one.image_id == image), pairs[0])
        picture = load_image(pair.picture).image
        return {
            self.note: note(f"Asked: {pair.question}"),
            self.choose: gr.Dropdown([one.image_id for one in pairs], value=pair.image_id, interactive=len(pairs) > 1),
            self.before: self._view(picture, pair, pair.before, 0),
            self.after: self._view(picture, pair, pair.after, 1),
            self.said_before: said_html(SIDES[0], pair.answer_before, pair.before),
            self.said_after: said_html(SIDES[1], pair.answer_after, pair.after),
        }

    def nothing(self, why: str) -> Values:
        """No image, and a sentence."""
        empty = ViewerPayload()
        return {
            self.note: note(why), self.choose: gr.Dropdown([], value=None), self.before: empty, self.after: empty,
            self.said_before: "", self.said_after: "",
        }  # fmt: skip

    def _view(self, picture: Image.Image, pair: Pair, points: Points | None, side: int) -> ViewerPayload:
        role: Role = "second model" if side == 0 else "model"
        both = ((SIDES[side], role, points), (TAUGHT, "reader", pair.taught))
        paths = [path_of(name, style, found) for name, style, found in both if found]  # type: ignore[arg-type]
        words = f"{SIDES[side]}, held-out image {pair.image_id}"
        return self.before.show(picture, paths, description=words, in_step=True)


def path_of(name: str, role: Role, points: Points) -> ViewerPath:
    """A path as the viewer shows it; how long each place was looked at is not known."""
    return ViewerPath(name=name, role=role, fixations=[ViewerFixation(x=x, y=y) for x, y in points])


def said_html(side: str, answer: str, points: Points | None) -> str:
    """An answer, escaped."""
    untrained = "" if points is not None else note(UNTRAINED)
    words = escape(answer) if answer else "(no words)"
    return f'<figure class="adapt-said"><figcaption>{escape(side)}</figcaption><p>{words}</p>{untrained}</figure>'
