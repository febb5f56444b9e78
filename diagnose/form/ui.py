"""The components that say who is asked, what and how."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import gradio as gr

from diagnose import markup
from diagnose.catalogue import Catalogue, Choice
from diagnose.link import HOTTEST, LARGEST_SEED, MOST_WALKS, Asking
from diagnose.questions import presets
from gazevlm_core.options import DEFAULT_QUESTION, PathChoice
from gazevlm_core.words import LONGEST_QUESTION
from web.markup import notice

USUAL = Asking(DEFAULT_QUESTION)
SAME = "the same"  # shown for the second model where there is none


def answer_settings() -> list[gr.components.Component]:
    """One component per setting of `Asking` that decides an answer, from the path to the seed of the words."""
    whole: dict[str, Any] = {"precision": 0, "minimum": 0, "maximum": LARGEST_SEED}
    return [
        gr.Radio(list(PathChoice), value=USUAL.path, label="Path: most typical walk, most likely steps, one walk"),
        gr.Slider(1, MOST_WALKS, USUAL.walks, step=1, label="Walks behind the most typical one"),
        gr.Slider(0, HOTTEST, USUAL.path_temperature, step=0.05, label="Temperature of the walks"),
        gr.Number(USUAL.path_seed, label="Seed of the walks", **whole),
        gr.Slider(0, HOTTEST, USUAL.text_temperature, step=0.05, label="Temperature of the words; 0 is greedy"),
        gr.Number(USUAL.text_seed, label="Seed of the words", **whole),
    ]


class AskingForm:
    """Model, question, settings and what to compare with; `settings` are the values of `Asking` behind the example.

    Args:
        catalogue: what can answer.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def notice_line(self) -> None:
        """What the page is not, and what the chosen model has seen."""
        words = notice(self.catalogue.find("").gaze.trained_on)
        self.notice = gr.HTML(words, elem_id="notice", elem_classes="gaze-notice-line")

    def question_box(self) -> None:
        """What is asked, in the user's words."""
        self.question = gr.Textbox(
            DEFAULT_QUESTION, label="Question", lines=2, max_length=LONGEST_QUESTION, elem_id="question"
        )

    def choices(self) -> None:
        """What may be left alone: presets, the model with its badges, what to compare with, and the settings."""
        choices = self.catalogue.choices()
        usual, names = next(iter(choices.values())), list(choices)
        self.preset = gr.Dropdown(
            presets_of(usual), value=None, label="Fill the question with", filterable=False,
            elem_id="preset",
        )  # fmt: skip
        self.model = gr.Dropdown(names, value=usual.name, label="Model", filterable=False, elem_id="model")
        self.badges = gr.HTML(markup.badges(usual.facts()), elem_id="badges")
        with gr.Accordion("Compare", open=False, elem_id="compare"):
            self.second_model = gr.Dropdown(
                [(SAME, ""), *names], value="", label="with another model or adapter",
                filterable=False, elem_id="second-model",
            )  # fmt: skip
            self.second_badges = gr.HTML(elem_id="second-badges")
            self.second_temperature = gr.Textbox(  # an empty gr.Number becomes 0 when it is first shown
                label="at another temperature of the walks (empty: the same)", max_length=10, elem_id="second"
            )
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            settings = answer_settings()
            self.make_link = gr.Button("Make a link to this", elem_id="make-link", size="sm")
            self.link = gr.Textbox(
                label="Link",
                info="Holds model, question, settings and a drawn example; an upload is not part of it.",
                interactive=False, visible=False, buttons=["copy"], elem_id="link",
            )  # fmt: skip
        self.picked = [self.notice, self.model, self.badges, self.second_model, self.second_badges, self.preset]
        self.settings = [self.model, *settings, self.second_model, self.second_temperature]

    def refreshed(self, model: str, second: str) -> dict[Any, Any]:
        """Values of `picked` for the models that there are now; one that has gone gives way to the usual one."""
        choices = self.catalogue.choices()
        model = model if model in choices else next(iter(choices))
        second = second if second in choices else ""
        chosen = choices[model]
        others = [(SAME, ""), *((name, name) for name in choices)]
        return {
            self.model: gr.Dropdown(list(choices), value=model),
            self.notice: notice(chosen.gaze.trained_on),
            self.badges: markup.badges(chosen.facts()),
            self.second_model: gr.Dropdown(others, value=second),
            self.second_badges: markup.badges(choices[second].facts()) if second else "",
            self.preset: gr.Dropdown(presets_of(chosen), value=None),
        }


def presets_of(choice: Choice) -> list[str]:
    """What a choice can be asked for."""
    return presets(choice.gaze.finding_names, choice.gaze.known_questions)


def asking_of(example: int | None, question: str, settings: Sequence[Any]) -> Asking:
    """Checked values of a question and of the settings, all or the first of them.

    Raises:
        ValueError: what is wrong, in one sentence.
    """
    names = [field.name for field in fields(Asking)][2 : 2 + len(settings)]
    # a slider's whole numbers may come as floats
    whole: list[Any] = [int(value) if isinstance(value, float) and value.is_integer() else value for value in settings]
    values = dict(zip(names, whole, strict=True))
    if "second_temperature" in values:
        values["second_temperature"] = _temperature(values["second_temperature"])
    return Asking(question, example, **values)


def _temperature(text: str | None) -> float | None:
    """What was typed; nothing is None. Raises ValueError for words."""
    try:
        return float(text) if text and text.strip() else None
    except ValueError:
        raise ValueError("The second temperature must be a number; change it.") from None
