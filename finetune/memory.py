"""What memory fine-tuning takes, computed from a model's dimensions. Nothing here was measured on a GPU.

    weights      language linears in 4 bits (or as asked); embeddings, norms, vision tower at 2 bytes
    adapter      LoRA matrices, heads and the row of the gaze token, float32
    gradients    of the same, float32
    optimizer    two moments of the same: float32, or 8 bits with a float32 scale per 256
    activations  what autograd keeps, and the largest passing buffers; see `activation_bytes`

Not counted: what CUDA and its libraries take for themselves, gaps of the allocator, and images on their way.
Free of torch.
"""

from dataclasses import dataclass

from finetune.config import Optimizer
from finetune.sizes import KNOWN, ModelSizes
from gazevlm_core.options import Precision

FLOAT32, BFLOAT16 = 4, 2  # bytes
# NF4 with double quantisation: 4 bits, per 64 weights a scale of 8 bits, per 256 such scales one of 32.
NF4_BYTES = 4 / 8 + 1 / 64 + FLOAT32 / (64 * 256)
WEIGHT_BYTES = {Precision.NF4: NF4_BYTES, Precision.INT8: 1.0, Precision.BF16: BFLOAT16, Precision.FP32: FLOAT32}
OPTIMIZER_BYTES = {Optimizer.ADAMW: 2.0 * FLOAT32, Optimizer.PAGED_ADAMW_8BIT: 2 * (1 + FLOAT32 / 256)}
ANSWER_SHARE = 16  # one in so many tokens of a batch is of an answer, unless the caller knows
GATHERED_LAYERS = 2  # that a sharded model has whole at once: the one at work and the next
# Eager attention's scores in one layer, in 16 bits: product, masked sum, softmax in float32 and its cast, and as much
# again in gradients.
SCORE_BYTES = 2 * (2 + 2 + 4 + 2)
GIGA = 1e9

TABLE_RANK, TABLE_SHARDS = 16, (1, 2, 4, 8)
TABLE_IMAGES, TABLE_PATCHES, TABLE_WORDS = 4, 1024, 128  # a batch; merged patches and words of one image
TABLE_TOKENS = TABLE_IMAGES * (TABLE_PATCHES + TABLE_WORDS)


@dataclass(frozen=True)
class Memory:
    """Bytes on one device.

    Args:
        weights: of the base.
        adapter: everything that is trained.
        gradients: of it.
        optimizer: its states.
        activations: of one batch.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.adapter + self.gradients + self.optimizer + self.activations


def memory_of(
    sizes: ModelSizes,
    *,
    rank: int,
    batch_tokens: int,
    optimizer: Optimizer,
    shards: int = 1,
    precision: Precision = Precision.NF4,
    width_bytes: int = BFLOAT16,
    checkpointing: bool = True,
    answer_tokens: int | None = None,
    scores: int = 0,
) -> Memory:
    """What one device needs.

    Args:
        sizes: of the model.
        rank: of the LoRA matrices.
        batch_tokens: patches, words and gaze tokens of all images that one device sees at once.
        optimizer: not AUTO: which one that is depends on the device.
        shards: devices that share everything but activations (FSDP's FULL_SHARD, ZeRO stage 3); 1 for one device, and
            for every device of DDP.
        precision: of the language model's linear layers; not AUTO.
        width_bytes: of a number in what is not quantised, and of an activation: 2 on CUDA, where autocast is on, and 4
            on a CPU.
        checkpointing: whether layers are computed again instead of being kept.
        answer_tokens: of the batch; None takes one token in 16.
        scores: of eager attention, pairs of tokens of all images and heads at once; the other kinds keep none.

    Raises:
        ValueError: a number below 1, or something left to AUTO.
    """
    if min(rank, batch_tokens, shards) < 1:
        raise ValueError("rank, batch_tokens and shards are at least 1")
    if optimizer is Optimizer.AUTO or precision is Precision.AUTO:
        raise ValueError("optimizer and precision must be told: what AUTO means depends on the device")
    linears = sizes.language_linears * WEIGHT_BYTES[precision]
    kept = (sizes.language_rest + sizes.embeddings + sizes.vision) * width_bytes
    weights = (linears + kept) / shards
    if shards > 1:  # what a device has whole while it is used; the embeddings, in the outermost part, all the time
        weights += sizes.embeddings * width_bytes + GATHERED_LAYERS * linears / sizes.layers
    trained = sizes.lora(rank) + sizes.heads + sizes.width  # one row, of <st>
    answers = -(-batch_tokens // ANSWER_SHARE) if answer_tokens is None else answer_tokens
    activations = activation_bytes(
        sizes, rank, batch_tokens, answers, width_bytes, checkpointing,
        dequantised=precision in (Precision.NF4, Precision.INT8),
    )  # fmt: skip
    return Memory(
        weights=round(weights),
        adapter=round(trained * FLOAT32 / shards),
        gradients=round(trained * FLOAT32 / shards),
        optimizer=round(trained * OPTIMIZER_BYTES[optimizer] / shards),
        activations=activations + round(scores * SCORE_BYTES * (1 if checkpointing else sizes.layers)),
    )


def layer_bytes(sizes: ModelSizes, rank: int, width_bytes: int) -> int:
    """What autograd keeps of one token in one layer of the language model.

    Both norms' inputs in float32; queries, keys, values and what attention gives; the gate, its SiLU and the other
    branch; what goes into every LoRA pair, and between its matrices. In float32 inputs are shared; else PEFT makes a
    copy for each pair (but for 4-bit layers under CUDA's autocast, which take less than is counted here).
    """
    attention = 2 * (sizes.query_width + sizes.key_width)
    copies = sum(inputs for inputs, _ in sizes.linears)
    inputs = copies if width_bytes < FLOAT32 else 2 * sizes.width + sizes.mlp_width
    numbers = attention + 3 * sizes.mlp_width + inputs + len(sizes.linears) * rank
    return 2 * FLOAT32 * sizes.width + width_bytes * numbers


def activation_bytes(
    sizes: ModelSizes,
    rank: int,
    tokens: int,
    answers: int,
    width_bytes: int,
    checkpointing: bool,
    *,
    dequantised: bool,
) -> int:
    """What a batch takes at its fullest moment, in bytes. Attention keeps no scores (SDPA), a frozen tower nothing.

    With checkpointing, T tokens leave T x D numbers per layer, and the fullest moment is the largest of three:
    - in a layer that is computed again: T x `layer_bytes`, two float32 gradients T x mlp_width, and the largest weight
      after it was dequantised;
    - at the output layer: logits of the answers, once more in float32, with the gradients of both; and, where it is
      tied to the embedding, a copy of it with the gaze token's row, and the copy's gradient (PEFT makes both);
    - at the embedding, at the very end: the gradient of such a copy.
    Around them, 2 x T x D float32 numbers (the last norm, and the states that the heads read) and, under autocast, LoRA
    matrices in bfloat16. Without checkpointing every layer's T x `layer_bytes` is there until the end.
    """
    per_layer = tokens * layer_bytes(sizes, rank, width_bytes)
    largest = max(inputs * outputs for inputs, outputs in sizes.linears) * width_bytes if dequantised else 0
    table = sizes.vocabulary * sizes.width * width_bytes
    in_layer = 2 * tokens * sizes.mlp_width * FLOAT32 + largest
    at_output = answers * sizes.vocabulary * 2 * (width_bytes + FLOAT32) + (2 * table if sizes.tied else 0)
    around = 2 * tokens * sizes.width * FLOAT32 + (sizes.lora(rank) * width_bytes if width_bytes < FLOAT32 else 0)
    if not checkpointing:
        return max(sizes.layers * per_layer + max(in_layer, at_output), table) + around
    held = sizes.layers * tokens * sizes.width * width_bytes
    return max(held + max(per_layer + in_layer, at_output), table) + around


def memory_table() -> str:
    """Every known model on 1 to 8 GPUs, as Markdown: gigabytes (10^9) on each GPU."""
    lines = [
        "| model | GPUs that share it | weights | adapter | gradients | optimizer | activations | each GPU |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, sizes in KNOWN.items():
        for shards in TABLE_SHARDS:
            memory = memory_of(
                sizes, rank=TABLE_RANK, batch_tokens=TABLE_TOKENS, optimizer=Optimizer.PAGED_ADAMW_8BIT, shards=shards
            )
            parts = (memory.weights, memory.adapter, memory.gradients, memory.optimizer, memory.activations)
            cells = " | ".join(f"{part / GIGA:.2f}" for part in parts)
            short = name.removeprefix("Qwen/").removesuffix("-Instruct")
            lines.append(f"| {short} | {shards} | {cells} | **{memory.total / GIGA:.1f}** |")
    return "\n".join(lines)
