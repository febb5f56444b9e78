"""A path that is changed by hand on the page: whether a model follows it, and what becomes of its result."""

from dataclasses import replace
from typing import TYPE_CHECKING

from diagnose.service import Step
from diagnose.tab.result import Result, Shown
from gazevlm_core.scanpath import Fixation
from web.viewer.payload import ViewerSteering

if TYPE_CHECKING:
    from gazevlm_core.model.configuration_gazevlm import GazeConfig


def steering_of(gaze: "GazeConfig", name: str) -> ViewerSteering:
    """Return whether the answer of a model follows a changed path, and in a sentence why not.

    Args:
        gaze: its configuration.
        name: of the model.
    """
    if gaze.num_prompt_glimpses:
        return ViewerSteering(most_steps=gaze.num_gaze_tokens)
    why = f"{name} answers from the whole image and takes no closer looks, so another path would change nothing."
    return ViewerSteering(why=why)


def result_of(shown: Shown | None, number: int) -> Result:
    """Return the result whose path is changed.

    Raises:
        ValueError: there is none any more, or its model does not follow.
    """
    if shown is None or number >= len(shown.results):
        raise ValueError("There is no path to change any more; diagnose the image again.")
    result = shown.results[number]
    if result.steering is None or not result.steering.most_steps:
        raise ValueError("The answer of this model does not follow its path, so it cannot be changed.")
    return result


def changed_result(own: Result, step: Step, path: tuple[Fixation, ...] | None, turn: int) -> Result:
    """Return the result of one step along a changed path; None is the model's own path again.

    Args:
        own: of the model's own path.
        step: of the answer.
        path: as it was changed.
        turn: number of the change.
    """
    assert own.steering is not None  # or no path would have been changed
    changed = replace(
        own, diagnosis=step.diagnosis, seconds=step.seconds, finished=step.finished, own=None if path is None else own
    )
    update = {"turn": turn, "remark": " ".join(changed.remarks)}
    return replace(changed, steering=own.steering.model_copy(update=update))
