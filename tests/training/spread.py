"""One short training, to be started alone or by `accelerate launch`: CHECKPOINT OUT PER_DEVICE ACCUMULATED.

Writes the weights and the log of the main process to OUT.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import TrainingArguments, set_seed

from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor
from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from gazevlm_core.training.collator import GazeCollator
from gazevlm_core.training.trainer import GazeTrainer


def uneven_examples(count: int) -> list[Sample]:
    """What is known differs from image to image, so that a mean of means is not the mean."""
    rng = np.random.default_rng(0)
    examples = []
    for number in range(count):
        image = Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8))
        fixations = tuple(
            Fixation(float(x), float(y), 200.0 if step % 2 else None)
            for step, (x, y) in enumerate(rng.random((1 + 3 * (number % 4), 2)))
        )
        readings = () if number % 4 == 3 else (Reading("", Scanpath(fixations, "simulated")),)
        findings = {"cardiomegaly": float(number % 2)} if number % 3 else {}
        answer = "Yes." if number % 2 else "Large left pleural effusion." * 3
        examples.append(Sample(f"x{number}", image, "Why?", answer if number % 5 else None, findings, readings))
    return examples


def main(checkpoint: str, out: str, per_device: int, accumulated: int) -> None:
    torch.set_num_threads(1)
    set_seed(3)
    model, processor = GazeVLM.from_pretrained(checkpoint), GazeVLMProcessor.from_pretrained(checkpoint)
    arguments = TrainingArguments(
        output_dir=out, max_steps=3, per_device_train_batch_size=per_device, gradient_accumulation_steps=accumulated,
        learning_rate=1e-3, lr_scheduler_type="constant", optim="sgd", logging_steps=1, save_strategy="no", seed=3,
        remove_unused_columns=False, report_to="none", use_cpu=True, disable_tqdm=True, max_grad_norm=1e9,
    )  # fmt: skip
    collator = GazeCollator(processor, model.config.gaze_config)
    trainer = GazeTrainer(model=model, args=arguments, train_dataset=uneven_examples(16), data_collator=collator)
    trainer.train()
    if trainer.accelerator.is_main_process:
        torch.save(trainer.accelerator.unwrap_model(trainer.model).state_dict(), Path(out) / "weights.pt")
        (Path(out) / "log.json").write_text(json.dumps(trainer.state.log_history))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
