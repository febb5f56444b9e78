"""The model: a vision-language backbone whose gaze tokens point at image patches in the order of a scanpath.

One pass of the backbone over [image, question, <st> x K] gives the hidden states of every gaze token and every patch,
and the cache from which the answer is generated. Nothing of a backbone is rewritten: `GazeVLM` stands before it in the
order of inheritance, and what differs between families is in `backbones`.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.model.configuration_gazevlm import GazeVLMConfig, GlimpsePositions, PointerKeys
from gazevlm_core.model.generation_gazevlm import GazeGeneration
from gazevlm_core.model.glimpses import at_true_places, glimpse_counts, glimpse_states, interleave, small_image_mask
from gazevlm_core.model.losses import LossCounts, weighted_losses
from gazevlm_core.model.outputs import GazeLosses, States, Supervision
from gazevlm_core.model.pointer import GazeHeads
from gazevlm_core.model.quantise import prepare_four_bit_model, saved_for
from gazevlm_core.model.shared_prefix import pack_rows

HEADS = "gaze_heads."  # in the names of all their weights


class GazeVLM(GazeGeneration):
    """A backbone with gaze, dwell and finding heads on its gaze tokens. Each family is a class in `backbones`, which
    inherits from this, then from the backbone, and gives the following.

        family: its name, for people.
        plain: class of the backbone without gaze, whose files any server of the family loads.
        plain_processor: name of that one's processor class.
        vision_name: name of the vision tower among the modules; never quantised.
        language_layers, vision_layers: patterns of the linear layers that get LoRA.
        normed_heads: whether its language model norms queries and keys, which takes memory in training.
        preprocessing: what the published image processors are set to.
        published: Hub id -> what makes the configuration in its config.json, with `text_layers=` and `vision_layers=`
            for a shallower one.
        tiny: makes a configuration of two narrow layers, with `rows=` of the embedding; the tests run every law on it.

    Args:
        config: a backbone's configuration with a `gaze` section and the id of `<st>`.
    """

    config: GazeVLMConfig
    family: ClassVar[str]
    plain: ClassVar[type[PreTrainedModel]]
    plain_processor: ClassVar[str]
    vision_name: ClassVar[str]
    language_layers: ClassVar[str]
    vision_layers: ClassVar[str]
    normed_heads: ClassVar[bool] = False
    preprocessing: ClassVar[Mapping[str, Any]]
    published: ClassVar[Mapping[str, Callable[..., PretrainedConfig]]]
    tiny: ClassVar[Callable[..., PretrainedConfig]]
    _keep_in_fp32_modules_strict = ["gaze_heads"]  # noqa: RUF012 (the base class declares it so)

    def __init__(self, config: GazeVLMConfig) -> None:
        super().__init__(config)
        self.gaze_heads = GazeHeads(config.text_config.hidden_size, config.gaze_config)
        self.post_init()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | PathLike, *args: Any, **kwargs: Any
    ) -> Any:  # noqa: ANN401 (a pair with output_loading_info)
        """Load as the library does; what was saved in four bits is computed in the dtype that it was saved for, unless
        another is given.

        The library would take the dtype that the other weights are stored in, for the scales too: the embedded model
        would answer as float16 does. Of `GazeVLM` itself, it gives a model of the family that the checkpoint is of.
        """
        if cls is GazeVLM:
            return AutoModelForImageTextToText.from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        if kwargs.get("dtype", kwargs.get("torch_dtype")) in (None, "auto"):
            fitting = saved_for(pretrained_model_name_or_path, kwargs)
            kwargs.update({} if fitting is None else {"dtype": fitting})
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if getattr(model, "is_loaded_in_4bit", False):  # the library sets it on such models alone
            prepare_four_bit_model(model, model.config.dtype)  # that was asked for; the weights have that of the file
        return loaded

    def save_pretrained(self, save_directory: str | PathLike, *args: Any, **kwargs: Any) -> None:
        """Save as the library does, in four bits too.

        Raises:
            ValueError: an adapter is on the model, whose layers the library would write among those of the base.
        """
        if getattr(self, "peft_config", None):
            raise ValueError("an adapter is on this model: save it by save_adapter, or write both by merge_adapter")
        if getattr(self, "is_loaded_in_4bit", False):
            # What the file was read by cannot be turned round where it held four bits; the family's own names can.
            self.__dict__.pop("_weight_conversions", None)
        super().save_pretrained(save_directory, *args, **kwargs)

    def load_adapter(self, peft_model_id: str | PathLike, *_: Any, **__: Any) -> Any:  # noqa: ANN401 (see there)
        """Put an adapter's folder on this model with its heads: `gazevlm_core.model.adapters.attach_adapter`.

        Other arguments of the library's are not needed, for a model bears one adapter, and trains none that was loaded.

        Raises:
            AdapterError: it cannot be used.
            ValueError: there is one on the model already.
            ImportError: this class was read from a checkpoint's folder, and GazeVLM is not installed.
        """
        if getattr(self, "peft_config", None):  # PEFT's note on the models that it changes
            raise ValueError("an adapter is on this model already: detach it, or load the base anew")
        try:  # by name: what reads a checkpoint elsewhere needs no PEFT
            adapters = import_module("gazevlm_core.model.adapters")
        except ImportError as error:
            raise ImportError("an adapter's heads are read by GazeVLM: install it, or merge the adapter") from error
        return adapters.attach_adapter(self, Path(peft_model_id))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Refuse an adapter's weights without heads: `PeftModel.from_pretrained` reads LoRA layers alone, and would
        leave those of the base to point with."""
        peft = getattr(self, "peft_config", None)
        if peft and not any(name.startswith(prefix + HEADS) for name in state_dict):
            raise ValueError(
                "PEFT does not read the gaze heads of an adapter, so the path would be the base's: load the base anew "
                "and call its load_adapter(FOLDER), or merge the adapter by `gazevlm adapter merge`"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _init_weights(self, module: torch.nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, GazeHeads):
            module.reset_own(init)

    # ---- what a family may do in another way -----------------------------------------------------------------------
    def encode_images(self, pixel_values: torch.Tensor, image_grid_thw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Encode images as all that the backbone needs of each, [P_b, `image_token_width`]; reusable for any number
        of questions. The first D columns are the merged tokens of the vision tower."""
        return self.model.get_image_features(pixel_values, image_grid_thw, return_dict=True).pooler_output

    def image_features(self, image_tokens: Sequence[torch.Tensor]) -> ModelOutput:
        """Return what `encode_images` gave as the backbone's forward takes it in the place of pixels."""
        return BaseModelOutputWithPooling(pooler_output=tuple(image_tokens))

    @property
    def image_token_width(self) -> int:
        """Numbers per image token of `encode_images`."""
        return self.config.text_config.hidden_size

    def merged_tokens(self, image_tokens: torch.Tensor) -> torch.Tensor:
        """Return the vision tower's merged tokens alone, [..., D], of those of `encode_images`."""
        return image_tokens[..., : self.config.text_config.hidden_size]

    def grids(self, image_grid_thw: torch.Tensor) -> list[PatchGrid]:
        """Return the grid of image tokens of each image, from the processor's int64 [B, 3]."""
        merge = self.config.vision_config.spatial_merge_size
        return [PatchGrid.from_grid_thw(thw, merge) for thw in image_grid_thw.tolist()]

    def positions(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        mm_token_type_ids: torch.Tensor,
        image_grid_thw: torch.Tensor,
    ) -> torch.Tensor:
        """Return three-dimensional rope positions, int64 [3, B, L], without touching the state kept on the backbone.

        Args:
            image_grid_thw: of all images in the order of the prompts, glimpses included.
        """
        position_ids, _ = self.model.get_rope_index(
            input_ids, mm_token_type_ids=mm_token_type_ids, image_grid_thw=image_grid_thw, attention_mask=attention_mask
        )
        return position_ids

    # ---- the same for all families ---------------------------------------------------------------------------------
    def forward(  # explicit names, because `generate` reads this signature
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        pixel_values: torch.Tensor | None = None,
        image_grid_thw: torch.Tensor | None = None,
        mm_token_type_ids: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        gaze_targets: torch.Tensor | None = None,
        gaze_durations_ms: torch.Tensor | None = None,
        finding_labels: torch.Tensor | None = None,
        loss_counts: LossCounts | None = None,
        image_tokens: torch.Tensor | None = None,
        gaze_offsets: torch.Tensor | None = None,
        glimpse_pixel_values: torch.Tensor | None = None,
        glimpse_tokens: torch.Tensor | None = None,
        glimpse_windows: torch.Tensor | None = None,
        glimpse_contents: torch.Tensor | None = None,
        rows_per_image: torch.Tensor | None = None,
        patch_contents: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> ModelOutput | tuple:
        """Run the backbone's forward, or return the gaze losses where supervision is given.

        Args:
            image_tokens: [sum of P_b, W], from `encode_images`, in the place of `pixel_values`;
                for the gaze losses alone.
            labels, gaze_targets, gaze_offsets, gaze_durations_ms, finding_labels, patch_contents: see `Supervision`.
            glimpse_pixel_values: of all rows' glimpses in order, as the image processor gives them; for the gaze losses
                alone, of prompts that hold their tokens. `glimpse_tokens` [N, T, W] may stand in their place.
            glimpse_windows: float [B, M, 4], where they were cut, NaN where a row has fewer than M.
            glimpse_contents: float [B, M, F], whether each finding lies in each glimpse, NaN where unknown.
            rows_per_image: int64 [images], where rows that follow each other are about one image, whose pixels, tokens
                and grid are there once; for the gaze losses alone. None: each row has its own.
            loss_counts: of all batches that share a step of training; None takes the batch's own.

        Returns:
            `GazeLosses` when `gaze_targets` or `finding_labels` is given, else the backbone's output.
        """
        backbone = {
            "input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids,
            "inputs_embeds": inputs_embeds, "use_cache": use_cache, "pixel_values": pixel_values,
            "image_grid_thw": image_grid_thw, "mm_token_type_ids": mm_token_type_ids, **kwargs,
        }  # fmt: skip
        if gaze_targets is None and finding_labels is None:
            if image_tokens is not None:
                raise ValueError("image_tokens stand in for pixel_values in the gaze losses alone")
            return super().forward(labels=labels, logits_to_keep=logits_to_keep, **backbone)
        given = Supervision(
            labels, gaze_targets, gaze_durations_ms, gaze_offsets, finding_labels, glimpse_contents, patch_contents
        )
        if glimpse_pixel_values is not None:
            glimpse_tokens = self.encode_glimpses(glimpse_pixel_values)
        glimpses = None if glimpse_tokens is None or glimpse_windows is None else (glimpse_tokens, glimpse_windows)
        return self._gaze_losses(backbone, given, loss_counts or LossCounts(), image_tokens, glimpses, rows_per_image)

    def _gaze_losses(
        self, backbone: dict[str, Any], given: Supervision, counts: LossCounts, image_tokens: torch.Tensor | None,
        glimpses: tuple[torch.Tensor, torch.Tensor] | None, rows_per_image: torch.Tensor | None,
    ) -> GazeLosses:  # fmt: skip
        """Return the losses of one pass over the backbone's arguments.

        Args:
            given: with the contents of glimpses as in `forward`.
            glimpses: tokens [N, T, W] of all glimpses, and their windows.
            image_tokens, rows_per_image: see `forward`.

        Raises:
            ValueError: prompts without gaze tokens, or without what the losses need beside them.
        """
        if any(backbone[name] is None for name in ("input_ids", "image_grid_thw", "mm_token_type_ids")):
            raise ValueError("gaze losses need input_ids, image_grid_thw and mm_token_type_ids")
        if glimpses is not None and given.contents is not None:
            given = given._replace(contents=given.contents[~glimpses[1][..., 0].isnan()])
        if image_tokens is None and backbone["pixel_values"] is not None and given.patch_contents is not None:
            image_tokens = torch.cat(self.encode_images(backbone["pixel_values"], backbone["image_grid_thw"]))
        states = self._supervised_states(backbone, image_tokens, glimpses, rows_per_image)
        if given.patch_contents is not None and image_tokens is not None:
            states = states._replace(image_tokens=(self.merged_tokens(image_tokens),))
        return weighted_losses(self, states, given, counts)

    def _supervised_states(
        self, backbone: dict[str, Any], image_tokens: torch.Tensor | None,
        glimpses: tuple[torch.Tensor, torch.Tensor] | None, rows_per_image: torch.Tensor | None,
    ) -> States:  # fmt: skip
        """Return what the heads read of one pass; arguments as in `_gaze_losses`.

        Raises:
            ValueError: prompts without gaze tokens.
        """
        ids, thw = backbone["input_ids"], backbone["image_grid_thw"]
        if rows_per_image is not None:
            thw = thw.repeat_interleave(rows_per_image, dim=0)
        grids = self.grids(thw)
        is_small = small_image_mask(is_image := ids == self.config.image_token_id, grids)
        if backbone["position_ids"] is None:  # never the backbone's own: it keeps them between calls
            windows = None if glimpses is None else glimpses[1]
            mask, types = backbone["attention_mask"], backbone["mm_token_type_ids"]
            backbone["position_ids"] = self._all_positions(ids, mask, types, thw, windows, is_small)
        hidden, patches = self._backbone_states(backbone, is_small, grids, image_tokens, glimpses, rows_per_image)
        gaze_hidden = self.gaze_states(hidden, ids)
        if gaze_hidden is None:
            raise ValueError("gaze losses need prompts with gaze tokens")
        states = States(hidden, gaze_hidden, patches, tuple(grids))
        if glimpses is None:
            return states
        seen = self.merged_tokens(glimpses[0])
        own = glimpse_states(hidden, is_image & ~is_small, seen)
        return states._replace(glimpses=own, glimpse_tokens=seen)

    def _backbone_states(
        self, backbone: dict[str, Any], is_small: torch.Tensor, grids: Sequence[PatchGrid],
        image_tokens: torch.Tensor | None, glimpses: tuple[torch.Tensor, torch.Tensor] | None,
        rows_per_image: torch.Tensor | None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:  # fmt: skip
        """Return last hidden states [B, L, D] and `patch_states` of the backbone's arguments.

        Args:
            is_small: bool [B, L], tokens of the small images.
            glimpses: tokens [N, T, W] of all glimpses, and their windows.
            rows_per_image: where rows share an image, see `forward`.
        """
        pixel_values, tokens, packed = backbone["pixel_values"], None, None
        visual = self.config.gaze_config.pointer_keys == PointerKeys.VISUAL
        numbers = [1] * len(grids) if rows_per_image is None else rows_per_image.tolist()
        firsts = [sum(numbers[:image]) for image in range(len(numbers))]
        if image_tokens is not None:
            tokens = torch.split(image_tokens, [len(grids[row]) for row in firsts])
        elif pixel_values is not None and (visual or glimpses is not None or rows_per_image is not None):
            tokens = self.encode_images(pixel_values, backbone["image_grid_thw"])
        per_row = None if tokens is None else [one for one, n in zip(tokens, numbers, strict=True) for _ in range(n)]
        if tokens is not None and per_row is not None:
            counts = [0] * len(grids) if glimpses is None else glimpse_counts(glimpses[1])
            if rows_per_image is not None and self.config._attn_implementation == "sdpa":  # others take no such mask
                packed = pack_rows(backbone["attention_mask"].bool(), is_small, numbers)
                counts = [sum(counts[row : row + n]) for row, n in zip(firsts, numbers, strict=True)]
            shown = tokens if packed is not None else per_row
            shown = shown if glimpses is None else interleave(shown, glimpses[0], counts)
            given = {"image": self.image_features(shown)}
            backbone = {**backbone, "pixel_values": None, "image_grid_thw": None, "mm_encoder_outputs": given}
        arguments = backbone if packed is None else packed.pack(backbone)
        hidden = self.model(**{**arguments, "use_cache": False}).last_hidden_state
        hidden = hidden if packed is None else packed.unpack(hidden)
        return hidden, self.patch_states(hidden, is_small, grids, per_row)

    def encode_glimpses(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Encode glimpses, all alike, as `encode_images` does: [N, T, W] of the image processor's pixel values."""
        side = self.config.gaze_config.glimpse_side * self.config.vision_config.spatial_merge_size
        count = len(pixel_values) // side**2
        thw = torch.tensor([[1, side, side]], device=pixel_values.device).expand(count, -1)
        return torch.stack(self.encode_images(pixel_values, thw))

    def _all_positions(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, mm_token_type_ids: torch.Tensor,
        image_grid_thw: torch.Tensor, windows: torch.Tensor | None, is_small: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Return rope positions of prompts with glimpses or without: [3, B, L], whole numbers but for glimpses'
        places."""
        if windows is None:
            return self.positions(input_ids, attention_mask, mm_token_type_ids, image_grid_thw)
        gaze, merge = self.config.gaze_config, self.config.vision_config.spatial_merge_size
        one = image_grid_thw.new_tensor([1, *[gaze.glimpse_side * merge] * 2])
        every = torch.stack([
            thw for small, count in zip(image_grid_thw, glimpse_counts(windows), strict=True)
            for thw in (small, *[one] * count)
        ])  # fmt: skip
        found = self.positions(input_ids, attention_mask, mm_token_type_ids, every)
        if gaze.glimpse_positions == GlimpsePositions.SEQUENTIAL:
            return found
        is_glimpse = (input_ids == self.config.image_token_id) & ~is_small
        return at_true_places(found, is_small, is_glimpse, windows, self.grids(image_grid_thw), gaze.glimpse_side)

    def patch_states(
        self, hidden: torch.Tensor, is_small: torch.Tensor, grids: Sequence[PatchGrid],
        image_tokens: Sequence[torch.Tensor] | None,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        """Return what stands for the patches in the heads, [P_b, D] per image: the backbone's last states or, with
        VISUAL keys, the vision tower's tokens.

        Raises:
            ValueError: VISUAL keys, and no image tokens.
        """
        if self.config.gaze_config.pointer_keys != PointerKeys.VISUAL:
            return torch.split(hidden[is_small], [len(grid) for grid in grids])
        if image_tokens is None:
            raise ValueError("visual pointer keys need pixel_values")
        return tuple(self.merged_tokens(tokens) for tokens in image_tokens)

    def gaze_states(self, hidden: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor | None:
        """Return hidden states [B, K, D] at the gaze tokens, or None where the prompts hold none.

        Raises:
            ValueError: rows with different numbers of gaze tokens, or a configuration without one.
        """
        gaze_token_id = self.config.gaze_token_id
        if gaze_token_id is None:
            raise ValueError("the model's configuration names no gaze token; load it with load_checkpoint")
        is_gaze = input_ids.eq(gaze_token_id)
        counts = is_gaze.sum(dim=-1)
        if not counts.any():
            return None
        if (counts != counts[0]).any():
            raise ValueError(f"every prompt of a batch needs as many gaze tokens, got {counts.tolist()}")
        return hidden[is_gaze].view(len(input_ids), -1, hidden.shape[-1])
