"""The table of memory in docs/how-to/fine-tune-on-gpus.md, as it is computed: print `memory_table()` to renew it."""

from finetune.config import Optimizer
from finetune.memory import GIGA, memory_of, published_sizes
from gazevlm_core.model.backbones import PUBLISHED

TABLE_RANK, TABLE_SHARDS = 16, (1, 2, 4, 8)
TABLE_IMAGES, TABLE_PATCHES, TABLE_WORDS = 4, 1024, 128  # a batch; merged patches and words of one image
TABLE_TOKENS = TABLE_IMAGES * (TABLE_PATCHES + TABLE_WORDS)


def memory_table() -> str:
    """Every published base on 1 to 8 GPUs, as Markdown: gigabytes (10^9) on each GPU."""
    lines = [
        "| model | GPUs that share it | weights | adapter | gradients | optimizer | activations | each GPU |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in PUBLISHED:
        sizes = published_sizes(name)
        assert sizes is not None
        for shards in TABLE_SHARDS:
            memory = memory_of(
                sizes, rank=TABLE_RANK, batch_tokens=TABLE_TOKENS, optimizer=Optimizer.PAGED_ADAMW_8BIT, shards=shards
            )
            parts = (memory.weights, memory.adapter, memory.gradients, memory.optimizer, memory.activations)
            cells = " | ".join(f"{part / GIGA:.2f}" for part in parts)
            short = name.removeprefix("Qwen/").removesuffix("-Instruct")
            lines.append(f"| {short} | {shards} | {cells} | **{memory.total / GIGA:.1f}** |")
    return "\n".join(lines)
