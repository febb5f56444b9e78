"""The fields of `FinetuneConfig` as components: a few in sight, all others folded away."""

from typing import Any

import gradio as gr
from gradio.components import Component

from finetune.tab.form import KNOBS, FormField, fields_of_form

FOLD = "All other settings"


class SettingsForm:
    """Components; `fields` is by the name of the configuration's field."""

    def __init__(self) -> None:
        fields = fields_of_form()
        with gr.Row(elem_id="adapt-knobs", elem_classes="adapt-fields"):
            self.fields = {name: component_of(fields[name]) for name in KNOBS}
        with gr.Accordion(FOLD, open=False, elem_id="adapt-advanced"):
            with gr.Row(elem_classes="adapt-fields"):
                self.fields |= {name: component_of(field) for name, field in fields.items() if name not in KNOBS}

    def settings(self, values: dict[Any, Any]) -> dict[str, object]:
        """What the form holds, by name.

        Args:
            values: component -> value, as a handler gets it.
        """
        return {name: values.get(component) for name, component in self.fields.items()}


def component_of(field: FormField) -> Component:
    """What a field is filled in with."""
    shared: dict[str, Any] = {
        "label": field.label, "info": field.help, "elem_id": f"adapt-{field.name.replace('_', '-')}", "min_width": 160,
    }  # fmt: skip
    if field.kind == "flag":
        return gr.Checkbox(field.default, **shared)
    if field.kind in ("choice", "maybe"):
        return gr.Dropdown(list(field.choices), value=field.default, filterable=False, **shared)
    if field.kind == "names":
        return gr.Dropdown([], value=field.default, multiselect=True, **shared)
    if field.kind == "text":
        return gr.Textbox(field.default, max_lines=1, **shared)
    if field.optional:  # an empty field for numbers would say 0
        return gr.Textbox("", max_lines=1, placeholder="as usual", **shared)
    # what is typed is checked by the server, which says what is wrong; a precision would round it silently
    return gr.Number(field.default, step=1 if field.kind == "whole" else 0.0001, **shared)
