"""Adapters: a PEFT folder with LoRA weights and new-token rows, and beside them the heads and their configuration.

    adapter_config.json  adapter_model.safetensors  gaze_config.json  gaze_heads.safetensors

Safetensors only. Attaching keeps what it replaces, detaching puts it back: a swap leaves no trace on the base. So only
what leaves the base's own weights alone is attached: LoRA, DoRA and rsLoRA, and rows of new tokens.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from gazevlm_core.model.adapter_bounds import BASE, check_fit, check_heads, check_lora, read_shapes
from gazevlm_core.model.backbones import BACKBONES
from gazevlm_core.model.checkpoint import first_line
from gazevlm_core.model.configuration_gazevlm import GAZE_CONFIG_FILE, GazeConfig
from gazevlm_core.model.modeling_gazevlm import HEADS, GazeVLM
from gazevlm_core.model.pointer import GazeHeads

if TYPE_CHECKING:
    from peft import PeftModel

HEADS_FILE = "gaze_heads.safetensors"
WEIGHTS_FILE = "adapter_model.safetensors"
PEFT_CONFIG_FILE = "adapter_config.json"
ADAPTER_FILES = (PEFT_CONFIG_FILE, WEIGHTS_FILE, HEADS_FILE, GAZE_CONFIG_FILE)
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
ADAPTER_WEIGHTS = ("lora_", "trainable_tokens_delta")  # in the names of all weights that are an adapter's own

# Of PEFT's fields, those that choose layers, ranks and tokens, and those that are notes. All others must be off: some
# change the base's weights where they lie (PiSSA, OLoRA, CorDA, LoftQ, KaSA, biases) or import modules by name.
LORA_FIELDS = frozenset({
    "r", "lora_alpha", "lora_dropout", "use_dora", "use_rslora", "target_modules", "exclude_modules", "rank_pattern",
    "alpha_pattern", "layers_to_transform", "layers_pattern", "trainable_token_indices",
})  # fmt: skip
NOTES = frozenset({
    "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision", "task_type",
})  # fmt: skip
MOST_JSON_BYTES = 2**20
TRAINED_ON_IT = "give one that was trained on it"


class AdapterError(ValueError):
    """An adapter that cannot be used; the message says why and what to do."""


def save_adapter(adapted: "PeftModel", folder: Path, state_dict: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write LoRA weights, new-token rows, heads and gaze configuration; the last one makes the folder an adapter.

    Args:
        adapted: a PEFT model around a `GazeVLM`.
        folder: made if missing.
        state_dict: of `adapted`, where its own tensors are shards; None takes its own.

    Raises:
        KeyError: the state holds no heads.
    """
    base = cast(GazeVLM, adapted.get_base_model())
    gathered = None if state_dict is None else dict(state_dict)
    adapted.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False, state_dict=gathered)
    heads = base.gaze_heads.state_dict()
    if gathered is not None:
        given = {name.partition(HEADS)[2]: tensor for name, tensor in gathered.items() if HEADS in name}
        heads = {name: given[name] for name in heads}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in heads.items()}, folder / HEADS_FILE)
    config = json.dumps(base.config.gaze_config.own_values(), indent=2)
    (folder / GAZE_CONFIG_FILE).write_text(config + "\n", encoding="utf-8")


def read_gaze_config(folder: Path) -> GazeConfig:
    """Read the gaze configuration of an adapter folder, after checking that the folder is complete and holds no pickle.

    Raises:
        AdapterError: missing or unreadable files, or any pickle.
    """
    with _readable(folder):
        if not folder.is_dir():
            raise AdapterError(f"adapter {folder.name!r} is not a folder; give the folder that holds {HEADS_FILE}")
        pickles = sorted(path.name for path in folder.rglob("*") if path.suffix.lower() in PICKLE_SUFFIXES)
        if pickles:
            raise AdapterError(f"adapter {folder.name!r} holds pickle files ({pickles[0]}); save it as safetensors")
        for name in ADAPTER_FILES:
            if not (folder / name).is_file():
                raise AdapterError(f"adapter {folder.name!r} lacks {name}; save it with gazevlm_core.model.adapters")
    values = _read_json(folder, GAZE_CONFIG_FILE)
    try:
        return GazeConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        raise AdapterError(f"adapter {folder.name!r}: {GAZE_CONFIG_FILE} is not usable: {error}") from error


def adapted_gaze_config(base: GazeConfig, folder: Path) -> GazeConfig:
    """Return the gaze configuration of a base with an adapter on it; one that lists no questions knows those of its
    base.

    Raises:
        AdapterError: as `read_gaze_config`.
    """
    gaze = read_gaze_config(folder)
    return gaze if gaze.known_questions else replace(gaze, known_questions=base.known_questions)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """An adapter may be deleted while it is read."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise AdapterError(f"adapter {folder.name!r} cannot be read ({why}); choose another, or try again") from error


def _read_json(folder: Path, name: str) -> Any:  # noqa: ANN401 (what a file holds)
    with _readable(folder):
        path = folder / name
        if path.stat().st_size > MOST_JSON_BYTES:
            raise AdapterError(f"adapter {folder.name!r}: {name} is not usable: it has more than a megabyte")
        text = path.read_bytes()
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"adapter {folder.name!r}: {name} is not usable: {error}") from error


def read_base_name(folder: Path) -> str:
    """Return the last part of the name of the model that an adapter was trained on, e.g. "gazevlm-nano"; "" where
    unknown.

    Raises:
        AdapterError: as `read_gaze_config`, or the adapter is of a kind that is not attached.
    """
    read_gaze_config(folder)
    name = _read_lora(folder).get("base_model_name_or_path") or ""
    if not isinstance(name, str):
        raise AdapterError(f"adapter {folder.name!r}: {PEFT_CONFIG_FILE} is not usable: the base's name is no text")
    return Path(name).name


def _read_lora(folder: Path) -> dict[str, Any]:
    """PEFT's configuration of an adapter that detaching undoes.

    Raises:
        AdapterError: it is not readable, or not such an adapter's.
    """
    from peft import LoraConfig  # late: a page without adapters has its first answer sooner

    values, usual = _read_json(folder, PEFT_CONFIG_FILE), LoraConfig().to_dict()
    if not isinstance(values, dict):
        raise AdapterError(f"adapter {folder.name!r}: {PEFT_CONFIG_FILE} is not usable: it is no object")
    for name in sorted(values.keys() - LORA_FIELDS - NOTES):
        if values[name] not in (None, False, usual.get(name)):
            raise AdapterError(
                f"adapter {folder.name!r} sets {name[:40]} to {str(values[name])[:40]!r}; only LoRA, DoRA and rsLoRA "
                "that leave the model's own weights alone are attached: train it with gazevlm finetune"
            )
    return values


def adapter_stamp(folder: Path) -> tuple[object, ...]:
    """Return a key that is equal for the same adapter, and another one once its files are written anew. What is kept of
    an adapter is kept by it, never by its name.

    The time of a file's last change and its inode are part of it: times of writing can be copied, these cannot.
    """
    states = []
    for name in ADAPTER_FILES:
        with suppress(OSError):  # a file that is missing has no state; attaching says so
            states.append((folder / name).stat())
    return (
        str(folder.resolve()),
        *((state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_size) for state in states),
    )


def sees_as_its_base(folder: Path) -> bool:
    """Return whether the features of an image are those of the base: no layer in the vision tower, and no other image
    size.

    Raises:
        AdapterError: as `read_gaze_config`, or the weights cannot be read.
    """
    if read_gaze_config(folder).pixel_limits is not None:
        return False
    with _readable(folder):
        try:
            with safe_open(folder / WEIGHTS_FILE, "pt") as weights:
                return not any(f".{one.vision_name}." in name for name in weights.keys() for one in BACKBONES)
        except SafetensorError as error:
            raise AdapterError(f"adapter {folder.name!r}: {WEIGHTS_FILE} is not usable: {error}") from error


class _Bare:
    """A model before an adapter: its modules, which parameters learn, and its gaze configuration.

    PEFT's own unloading does not cover an adapter that it built but half, nor heads that were exchanged meanwhile.
    """

    def __init__(self, model: GazeVLM) -> None:
        self._model, self._gaze = model, model.config.gaze_config
        self._children = [(module, dict(module.named_children())) for module in model.modules()]
        self._learns = [(parameter, parameter.requires_grad) for parameter in model.parameters()]

    def restore(self) -> None:
        """Make it that again."""
        for module, children in self._children:
            for name, child in children.items():
                setattr(module, name, child)
        for parameter, learns in self._learns:
            parameter.requires_grad_(learns)
        self._model.config.gaze_config = self._gaze
        self._model.__dict__.pop("peft_config", None)  # which PEFT notes there


@dataclass(frozen=True)
class AttachedAdapter:
    """An adapter that sits on a model, with what it replaced.

    Args:
        name: of the adapter's folder.
        stamp: from `adapter_stamp`.
        sees_as_base: from `sees_as_its_base`.
    """

    name: str
    stamp: tuple[object, ...]
    sees_as_base: bool
    _peft: "PeftModel"
    _bare: _Bare

    def detach(self) -> None:
        """Take the adapter off; the model answers as if it had never been there."""
        self._bare.restore()

    def merge(self) -> None:
        """Make the adapter part of the model's weights, from which it cannot be taken off again.

        In the dtype of the weights; a quantised model should be dequantised first, or it is quantised anew.

        Raises:
            AdapterError: it holds numbers that are not finite.
        """
        try:
            self._peft.merge_and_unload(safe_merge=True)
        except ValueError as error:
            raise AdapterError(f"adapter {self.name!r} cannot be merged: {first_line(error)}") from error


def attach_adapter(model: GazeVLM, folder: Path) -> AttachedAdapter:
    """Put an adapter on a bare model, in place: LoRA layers, new-token rows and the adapter's heads.

    Args:
        model: without an adapter; left bare when the adapter does not fit.
        folder: from `save_adapter`.

    Raises:
        AdapterError: the folder is not usable, or does not fit this model.
    """
    gaze = adapted_gaze_config(model.config.gaze_config, folder)
    values, stamp = _read_lora(folder), adapter_stamp(folder)
    bare = _Bare(model)
    try:
        with _readable(folder):
            hidden_size = model.config.text_config.hidden_size
            check_heads(hidden_size, gaze, read_shapes(folder / HEADS_FILE))
            heads = GazeHeads(hidden_size, gaze)
            heads.load_state_dict(load_file(folder / HEADS_FILE))
            model.gaze_heads = heads.to(model.device).eval()
            adapted = _build(model, folder, values)
        adapted.train(model.training)  # new layers begin in training mode, in which dropout would blur every answer
        model.config.gaze_config = gaze
        return AttachedAdapter(folder.name, stamp, sees_as_its_base(folder), adapted, bare)
    except BaseException as error:
        bare.restore()
        if isinstance(error, AdapterError) or not isinstance(error, Exception):
            raise
        # whatever PEFT raises at what it does not expect
        reason = first_line(error)
        raise AdapterError(f"adapter {folder.name!r} does not fit this model: {reason}; {TRAINED_ON_IT}") from error


def _build(model: GazeVLM, folder: Path, values: Mapping[str, Any]) -> "PeftModel":
    """LoRA layers and rows of tokens around a model, with the adapter's weights; every weight has its counterpart."""
    from peft import LoraConfig, PeftModel, set_peft_model_state_dict

    from gazevlm_core.model.token_rows import keep_embedding_uncopied

    check_lora(values)
    config = LoraConfig(**{name: values[name] for name in LORA_FIELDS & values.keys()}, inference_mode=True)
    shapes = read_shapes(folder / WEIGHTS_FILE)
    # PEFT would write any other over the base's
    _refuse(folder, [key for key in shapes if not any(part in key for part in ADAPTER_WEIGHTS)])
    check_fit(model, config, shapes)
    weights = load_file(folder / WEIGHTS_FILE)
    adapted = PeftModel(model, config)
    keep_embedding_uncopied(adapted)
    result: Any = set_peft_model_state_dict(adapted, {**weights, **head_weights(model.gaze_heads)})
    tied = model.config.tie_word_embeddings
    _refuse(folder, [*(key for key in result.missing_keys if _is_adapters(key, tied=tied)), *result.unexpected_keys])
    return adapted


def head_weights(heads: GazeHeads) -> dict[str, torch.Tensor]:
    """Return the state of the heads by PEFT's names, to go along with an adapter's weights: a `GazeVLM` takes no
    adapter without."""
    return {f"{BASE}{HEADS}{name}": tensor for name, tensor in heads.state_dict().items()}


def _refuse(folder: Path, strays: Collection[str]) -> None:
    """Raise AdapterError where there is any."""
    for key in strays:
        raise AdapterError(
            f"adapter {folder.name!r} does not fit this model: {key[:200]} has no counterpart; {TRAINED_ON_IT}"
        )


def _is_adapters(key: str, *, tied: bool) -> bool:
    """Return whether a weight must come from the adapter; a tied head shares its rows with the embedding."""
    if "trainable_tokens_delta" in key:
        return not (tied and ".lm_head." in key)
    return "lora_" in key
