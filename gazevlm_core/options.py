"""What a user may choose: a shipped checkpoint, its precision, which path to show, how to answer. Free of torch."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gazevlm_core.findings import REPORT_QUESTION
from gazevlm_core.scanpath import Fixation

NANO = "gazevlm-nano"
MODELS_FOLDER = Path(__file__).resolve().parents[1] / "models"
# Chosen on 300 phantoms neither trained nor scored on. Share of the ceiling: 0.81 of 32 paths and temperature 1,
# 0.85 at 32 and 0.7, 0.88 at 64 and 0.7, 0.88 at 128 and 0.7.
DEFAULT_NUM_PATHS = 64
DEFAULT_PATH_TEMPERATURE = 0.7
DEFAULT_QUESTION = REPORT_QUESTION


class Precision(StrEnum):
    """How weights are held. AUTO takes a quantised checkpoint as it is, NF4 for large ones, else full precision."""

    AUTO = "auto"
    NF4 = "nf4"
    INT8 = "int8"
    BF16 = "bf16"
    FP32 = "fp32"


class Attention(StrEnum):
    """How attention is computed. SDPA is torch's own; FLASH_2 needs CUDA, 16 bits and the package flash-attn; EAGER
    keeps all scores, for a look at them."""

    SDPA = "sdpa"
    FLASH_2 = "flash_attention_2"
    EAGER = "eager"


class PathChoice(StrEnum):
    """Which path is shown: what N sampled paths agree on, the one of them nearest to the others, the arg-max path, or
    one sample."""

    CONSENSUS = "consensus"
    MEDOID = "medoid"
    ARGMAX = "argmax"
    SAMPLE = "sample"


@dataclass(frozen=True)
class DiagnoseOptions:
    """How to answer.

    Args:
        path: which path is shown.
        walks: number of sampled paths behind a consensus or medoid path.
        path_temperature: divides the pointer's logits.
        path_seed: of the sampled paths.
        look_at: fixations that are the whole path, in the model's stead; the answer and findings of a model with
            glimpses follow from them. It sees those without a dwell first, and the others by their dwell.
        begin_at: fixations that the path begins with; the model goes on from there.
        text_temperature: 0 is greedy.
        text_seed: of a sampled text.
        max_new_tokens: longest answer.

    Raises:
        ValueError: a number out of range.
    """

    path: PathChoice = PathChoice.CONSENSUS
    walks: int = DEFAULT_NUM_PATHS
    path_temperature: float = DEFAULT_PATH_TEMPERATURE
    path_seed: int = 0
    look_at: tuple[Fixation, ...] = ()
    begin_at: tuple[Fixation, ...] = ()
    text_temperature: float = 0.0
    text_seed: int = 0
    max_new_tokens: int = 128

    def __post_init__(self) -> None:
        if not 1 <= self.walks <= 1024:
            raise ValueError(f"walks must lie in 1 to 1024, got {self.walks}")
        if not 1 <= self.max_new_tokens <= 2048:
            raise ValueError(f"max_new_tokens must lie in 1 to 2048, got {self.max_new_tokens}")
        if not 0 <= self.path_temperature <= 10 or not 0 <= self.text_temperature <= 10:
            raise ValueError("temperatures must lie in 0 to 10")
        if self.look_at and self.begin_at:
            raise ValueError("give a whole path (look_at) or the beginning of one (begin_at), not both")

    @property
    def places(self) -> tuple[Fixation, ...]:
        """The places that were given of the path: all of them or its beginning; none for the model's own path."""
        return self.look_at or self.begin_at


@dataclass(frozen=True)
class GlimpseShares:
    """Where glimpses are cut in training, in shares of the examples.

    A model that saw only what readers looked at would trust where it was sent and not what it sees there; at its own
    path and at random places it has to read. An example without readings takes its place at the next one that it has.

    Args:
        readers: at one reader's path.
        own: at a path that the model samples as it is by then; at random while its gaze is untrained.
        random: anywhere.
        findings: where findings lie, those of the image and of others in the batch alike often, so that the place does
            not tell; at random where no mask is known.

    Raises:
        ValueError: a negative share, or shares that do not add up to 1.
    """

    readers: float = 0.4
    own: float = 0.3
    random: float = 0.3
    findings: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.readers, self.own, self.random, self.findings)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"the shares of glimpses must not be negative and add up to 1, got {shares}")


def resolve_source(source: str) -> str:
    """Return the folder of a checkpoint that ships with the project (by its name), else the given folder or Hub id."""
    shipped = MODELS_FOLDER / source
    return str(shipped) if "/" not in source and shipped.is_dir() else source


def shipped_models() -> tuple[str, ...]:
    """Return names of the checkpoints that ship with the project: the embedded one, then its twins."""
    others = sorted(path.parent.name for path in MODELS_FOLDER.glob("*/config.json") if path.parent.name != NANO)
    return (NANO, *others)
