"""The fake trainer with all that the tab shows: parts of the loss, scorings, a verdict, before and after.

An adapter whose name ends in "worse" was not shown to be better than its base. The one called "mine" waits in its
middle until somebody makes GO_ON, so that a test sees it run however slow the machine is.
"""

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from finetune.records import BASE, Gain
from tests.finetune import fake_trainer
from tests.finetune.adapt_maker import MEASURES, write_pairs

OUT = Path(sys.argv[sys.argv.index("--out") + 1])
GO_ON, MIDDLE = OUT.parent / ".go-on", 50
BETTER = not OUT.name.endswith("worse")
SAID = "It is better than its base" if BETTER else "No difference from its base was seen"
WHY = f"{SAID} (24 held-out patients): sequence score 0.310 to {0.41 if BETTER else 0.3:.3f}."
OUTCOME = "better" if BETTER else "no difference seen"
GAIN = Gain(BASE, 24, 0.1, 0.05, 0.15) if BETTER else Gain(BASE, 24, 0.0, -0.04, 0.05)
VERDICT = {"outcome": OUTCOME, "why": WHY, "scores": {MEASURES[0].name: OUTCOME}}
SCORED = [asdict(one) for one in (replace(MEASURES[0], gain=GAIN), *MEASURES[1:])]
plain_tell, plain_checkpoint = fake_trainer.Run.tell, fake_trainer.Run.checkpoint


def tell(run: fake_trainer.Run, event: str, **values: object) -> None:
    if event == "start":
        values |= {"images": 8, "held_out_images": 2, "device": "cpu"}
        plain_tell(run, "phase", text="Scoring the base on 2 held-out images")
        sys.stdout.write(f"from step {run.step} on\n")
    elif event == "step":
        values |= {"gaze_loss": 0.7 / run.step, "text_loss": 0.3 / run.step}
        while OUT.name == "mine" and run.step == MIDDLE + 1 and not (GO_ON.exists() or fake_trainer.stopped):
            time.sleep(0.05)
    elif event == "end" and values["outcome"] == "done":
        plain_tell(run, "verdict", **VERDICT)
    plain_tell(run, event, **values)


def checkpoint(run: fake_trainer.Run) -> None:
    plain_checkpoint(run)
    plain_tell(run, "held_out", step=run.step, measures=SCORED)


def write_adapter(folder: Path, run: fake_trainer.Run) -> None:
    write_pairs(run.folder)
    part = folder.with_name(f".{folder.name}")
    part.mkdir()
    values = {"measures": SCORED, "verdict": VERDICT}
    (part / "provenance.json").write_text(json.dumps(values))
    part.rename(folder)


if __name__ == "__main__":
    fake_trainer.Run.tell, fake_trainer.Run.checkpoint = tell, checkpoint  # type: ignore[method-assign]
    fake_trainer.write_adapter = write_adapter
    fake_trainer.main()
