"""What the tab says of memory: from the base as it is loaded, and the settings that were chosen."""

import re

import pytest

from finetune.config import FinetuneConfig
from finetune.room import BaseFacts, facts_of
from finetune.tab.estimate import memory_sentence
from gazevlm_core.inference import GazeEngine
from gazevlm_core.options import Precision

CONFIG = FinetuneConfig(annotations=("data",), base="tiny")


def said(config: FinetuneConfig, facts: BaseFacts) -> float:
    """MiB in all."""
    amount, unit = re.search(r"about ([\d.]+) (MiB|GiB)", memory_sentence(config, facts)).groups()  # type: ignore[union-attr]
    return float(amount) * (1024 if unit == "GiB" else 1)


@pytest.fixture(scope="module")
def facts(tiny_engine: GazeEngine) -> BaseFacts:
    checkpoint = tiny_engine.checkpoint
    return facts_of(checkpoint.model.config, checkpoint.processor, checkpoint.precision, on_gpu=False)


def test_the_facts_are_those_of_the_loaded_model(facts: BaseFacts, tiny_engine: GazeEngine) -> None:
    assert facts.precision is not Precision.AUTO
    assert not facts.on_gpu
    assert facts.gaze_tokens == tiny_engine.gaze_config.num_gaze_tokens
    assert facts.most_pixels >= 784


def test_more_of_anything_takes_more(facts: BaseFacts) -> None:
    usual, large = said(CONFIG, facts), 4 * facts.most_pixels
    for change in ({"batch_size": 64}, {"lora_rank": 256}, {"max_pixels": large}, {"precision": "fp32"}):
        more = FinetuneConfig.from_values({**CONFIG.to_values(), **change})
        assert said(more, facts) >= usual, change
    assert said(CONFIG.model_copy(update={"batch_size": 64}), facts) > usual


def test_the_device_decides_what_is_usual(facts: BaseFacts) -> None:
    assert "on the CPU" in memory_sentence(CONFIG, facts)
    assert "on the GPU" in memory_sentence(CONFIG.model_copy(update={"device": "cuda:1"}), facts)
