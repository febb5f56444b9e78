"""What the scripts of the page are told, as JSON values."""

import math
from typing import Any

from annotate.payload import LONGEST_QUESTION, LONGEST_REPORT
from annotate.scores import Against
from annotate.service import AnnotationService, Looked
from gazevlm_core.annotation import MODES
from gazevlm_core.evaluation.floors import PAIR_FLOORS
from gazevlm_core.findings import NO_FINDING
from gazevlm_core.options import DEFAULT_QUESTION
from gazevlm_core.zones import zone_of
from web.identity import Visitor
from web.viewer.payload import viewer_path

Answer = dict[str, Any]


def greeting(service: AnnotationService, person: Visitor | None, problem: str) -> Answer:
    """Who asks, and what there is to do.

    Args:
        service: of the page.
        person: None where nobody is known.
        problem: what somebody unknown has to do.
    """
    progress = service.progress(person) if person else None
    models = list(service.models.choices())
    return {
        "asks_name": service.gate.asks_name,
        "findings": [*service.findings, NO_FINDING],
        "no_finding": NO_FINDING,
        "models": models,
        "usual": models[0],
        "modes": list(MODES),
        "question": DEFAULT_QUESTION,
        "longest_question": LONGEST_QUESTION,
        "longest_report": LONGEST_REPORT,
        "person": person and {"pseudonym": person.pseudonym, "name": person.name},
        "progress": progress
        and {"done": progress.done, "skipped": progress.skipped, "open_images": progress.open_images},
        "problem": problem,
    }


def looked_answer(looked: Looked) -> Answer:
    """The grid, and after a submission the person's own path beside the model's."""
    look, paths = looked.look, []
    if looked.path is not None:
        zones = [zone_of(fixation) for fixation in looked.path]
        paths.append(
            viewer_path(
                looked.path, f"Model: {looked.model}", "model", grid=look.grid,
                probabilities=look.fixation_probabilities, patch_probabilities=look.patch_probabilities, zones=zones,
            )
        )  # fmt: skip
    if looked.own is not None:
        zones = [zone_of(fixation) for fixation in looked.own]
        paths.append(viewer_path(looked.own, "You", "reader", grid=look.grid, zones=zones))
    return {
        "grid": {"rows": look.grid.rows, "cols": look.grid.cols},
        "paths": [path.model_dump(mode="json") for path in paths],
        "words": looked.words,
    }


def scores_answer(against: Against) -> Answer:
    """Scores as JSON; what is not defined is null."""

    def known(value: float) -> float | None:
        return None if math.isnan(value) else value

    rows = [
        {
            "name": row.name,
            "remark": f"order: {row.order}; {'higher' if row.higher_is_better else 'lower'} is closer",
            "value": known(row.value),
            "floors": [known(row.floors[floor]) for floor in PAIR_FLOORS],
        }
        for row in against.rows
    ]
    return {"name": against.name, "rows": rows, "floors": list(PAIR_FLOORS)}
