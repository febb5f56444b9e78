"""The list by which reviewers look at the submissions of one project alone; there is none where there is no choice."""

import gradio as gr

from annotate.dashboard.project import choices_of
from annotate.store.store import AnnotationStore
from web.training_data import ALL_PROJECTS


def project_filter(elem_id: str) -> gr.Dropdown:
    """Return the list, which `offered` fills; its value is a short name, "" for all."""
    return gr.Dropdown(
        [ALL_PROJECTS], value="", label="Project", filterable=False, visible=False, min_width=150, scale=1,
        elem_id=elem_id,
    )  # fmt: skip


def offered(store: AnnotationStore) -> gr.Dropdown:
    """Return what the list is to be: all projects, and each by itself; what is chosen stays."""
    projects = store.projects()
    return gr.Dropdown([ALL_PROJECTS, *choices_of(projects)], visible=len(projects) > 1)


def chosen(value: object) -> str:
    """Return a value that came from a browser; anything else than a text is all projects."""
    return value if isinstance(value, str) else ""
