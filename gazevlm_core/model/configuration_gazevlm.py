"""Configuration of the gaze parts, and of the model that carries them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, fields
from enum import StrEnum
from typing import Any

from transformers import PretrainedConfig, __version__

from gazevlm_core.model.places import UsualPlace

GAZE_CONFIG_FILE = "gaze_config.json"
# A configuration comes from a folder or the Hub, with memory and time at stake: the longest path that can be trained,
# widths beyond every backbone's, the largest grid of 16 MP, and images that no model of the family takes larger.
MOST_GAZE_TOKENS, MOST_POINTER_DIM, MOST_INDEX_PATCHES, MOST_PIXELS = 256, 8192, 2**15, 2**24
MOST_GLIMPSES, MOST_GLIMPSE_SIDE = 32, 16
MOST_FINDINGS, LONGEST_FINDING, LONGEST_TRAINED_ON = 512, 100, 10_000


# Of a field, by the type of its default: whether a value fits, and what it must be.
KINDS: dict[type, tuple[Callable[[Any], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (lambda value: type(value) is int, "a whole number"),
    float: (lambda value: type(value) in (int, float) and math.isfinite(value), "a finite number"),
    str: (
        lambda value: isinstance(value, str) and len(value) <= LONGEST_TRAINED_ON,
        f"a text of at most {LONGEST_TRAINED_ON} characters",
    ),
    tuple: (
        lambda value: isinstance(value, list | tuple) and len(value) <= MOST_FINDINGS,
        f"a list of at most {MOST_FINDINGS}",
    ),
}


class PointerKeys(StrEnum):
    """What stands for a patch in the pointer's keys."""

    STATES = "states"  # last hidden states at the image tokens: each depends on the whole image
    VISUAL = "visual"  # merged tokens of the vision tower: each knows little but its own surroundings
    INDEX = "index"  # a learned row per patch number, that is, a linear head over indices: blind to the patch's content


class GlimpsePositions(StrEnum):
    """Rope positions of a glimpse's tokens."""

    PLACE = "place"  # rows and columns where they lie in the image, in fractions of its patches
    SEQUENTIAL = "sequential"  # as those of any further image


class GazeConfig(PretrainedConfig):
    """Sizes of the gaze parts and what they were trained on: the section `gaze` of the model's
    configuration, and a file of its own beside an adapter. Take another by `dataclasses.replace`, never change one.

    Args:
        num_gaze_tokens: K, the longest scanpath.
        finding_names: one logit each, in this order: first those of the finding head, then those of `usual_places`.
        usual_places: findings predicted from the image tokens at one place; see `places`.
        pointer_dim: width d of the pointer's queries and keys.
        pointer_keys: what stands for a patch in the keys, and (but for INDEX, which takes STATES) in the query.
        index_patches: rows of the keys of INDEX, the largest grid that it can point at; 0 with other keys.
        stops: whether a path can be shorter than K; without, every path has K fixations.
        target_sigma_patches: width of a Gaussian around the fixated patch that is the target in its stead; 0 for the
            patch alone.
        repeats: whether consecutive fixations of a path may lie in one patch; without, they are one step, whose dwell
            adds up.
        use_offsets: whether a fixation lies anywhere in its patch, where the offset head puts it; False puts it in the
            middle.
        num_glimpses: M, places of the path that are cut from the image at a finer resolution and shown behind the gaze
            tokens; 0 for none, the paper's plain form.
        glimpse_patches: width of a glimpse in the patches of the small image.
        glimpse_side: image tokens along a side of a glimpse; how much finer it is than the small image is this over
            `glimpse_patches`.
        glimpse_positions: where rope puts the tokens of glimpses.
        glimpse_states: whether the finding head reads the last hidden states at glimpses, too, which know the small
            image; False takes each glimpse for itself.
        use_previous_patch: whether the query sees the patch fixated before; False is the plain placeholder form.
        gaze_trained: whether the pointer was trained; an untrained path is never drawn.
        findings_trained: whether the finding head was trained.
        dwell_trained: whether the dwell head was trained; an untrained one gives no durations.
        pixel_limits: smallest and largest image in pixels after resizing that the weights were trained with, where
            those are not the processor's own; None where they are.
        trained_on: what the weights have seen, in words for the user; "" where nothing.
        color_images: whether most images that were learned from are in colour; if not, colour pictures are declined.
        known_questions: every question that the weights were trained to answer, word by word; none for weights that
            answer freely, as those of a large language model.
        gaze_weight, text_weight, finding_weight, dwell_weight, offset_weight, local_weight,
        patch_finding_weight: weights of the losses; the last two are those of naming what lies in a glimpse, and in a
            patch of the small image.

    Raises:
        ValueError: values of another type, sizes below 1 or beyond the bounds above, repeated finding names, places
            that are not those of the last findings, negative weights or width, unknown keys, or a number of patches
            that does not go with them.
    """

    model_type = "gazevlm_gaze"
    base_config_key = "gaze"

    num_gaze_tokens: int = 12
    finding_names: tuple[str, ...] = ()
    usual_places: tuple[UsualPlace, ...] = ()
    pointer_dim: int = 128
    pointer_keys: PointerKeys = PointerKeys.STATES
    index_patches: int = 0
    stops: bool = True
    target_sigma_patches: float = 0.0
    repeats: bool = True
    use_offsets: bool = False
    num_glimpses: int = 0
    glimpse_patches: float = 1.5
    glimpse_side: int = 3
    glimpse_positions: GlimpsePositions = GlimpsePositions.PLACE
    glimpse_states: bool = False
    use_previous_patch: bool = True
    gaze_trained: bool = False
    findings_trained: bool = False
    dwell_trained: bool = False
    pixel_limits: tuple[int, int] | None = None
    trained_on: str = ""
    color_images: bool = False
    known_questions: tuple[str, ...] = ()
    gaze_weight: float = 1.0
    text_weight: float = 1.0
    finding_weight: float = 1.0
    dwell_weight: float = 0.1
    offset_weight: float = 1.0
    local_weight: float = 1.0
    patch_finding_weight: float = 0.0

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("model_type", None)
        if kwargs:
            raise ValueError(f"unknown gaze configuration keys: {', '.join(sorted(kwargs))}; update GazeVLM")
        self._check_types()
        self.finding_names = tuple(self.finding_names)
        questions: object = self.known_questions
        if not isinstance(questions, list | tuple) or not all(isinstance(one, str) for one in questions):
            raise ValueError("known_questions must be a list of questions")
        self.known_questions = tuple(self.known_questions)
        places = (place if isinstance(place, UsualPlace) else UsualPlace(**place) for place in self.usual_places)
        self.usual_places = tuple(places)
        self.pointer_keys = PointerKeys(self.pointer_keys)
        self.glimpse_positions = GlimpsePositions(self.glimpse_positions)
        if self.pixel_limits is not None:
            least, most = self.pixel_limits
            if not 0 < least <= most <= MOST_PIXELS:
                raise ValueError(
                    f"pixel_limits must be positive, in order and at most {MOST_PIXELS}, got {least} and {most}"
                )
            self.pixel_limits = (least, most)
        if (self.pointer_keys is PointerKeys.INDEX) != (self.index_patches > 0) or self.index_patches < 0:
            raise ValueError("index_patches is the number of patches for pointer_keys 'index', and 0 for the others")
        if self.target_sigma_patches < 0:
            raise ValueError(f"target_sigma_patches must not be negative, got {self.target_sigma_patches}")
        for name, most in (("num_gaze_tokens", MOST_GAZE_TOKENS), ("pointer_dim", MOST_POINTER_DIM)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must lie in 1 to {most}, got {getattr(self, name)}")
        if self.index_patches > MOST_INDEX_PATCHES:
            raise ValueError(f"index_patches must be at most {MOST_INDEX_PATCHES}, got {self.index_patches}")
        if len(set(self.finding_names)) != len(self.finding_names):
            raise ValueError(f"finding names repeat: {', '.join(self.finding_names)}")
        if tuple(place.name for place in self.usual_places) != self.finding_names[self.num_head_findings :]:
            raise ValueError("usual_places must be those of the last finding_names, in their order")
        if not 0 <= self.num_glimpses <= MOST_GLIMPSES or not 1 <= self.glimpse_side <= MOST_GLIMPSE_SIDE:
            raise ValueError(
                f"num_glimpses must lie in 0 to {MOST_GLIMPSES}, and glimpse_side in 1 to {MOST_GLIMPSE_SIDE}, got "
                f"{self.num_glimpses} and {self.glimpse_side}"
            )
        if not 0.25 <= self.glimpse_patches <= MOST_GLIMPSE_SIDE:
            raise ValueError(f"glimpse_patches must lie in 0.25 to {MOST_GLIMPSE_SIDE}, got {self.glimpse_patches}")
        weights = [value for name, value in self.own_values().items() if name.endswith("_weight")]
        if min(weights) < 0:
            raise ValueError("loss weights must not be negative")
        super().__post_init__()

    @classmethod
    def own_fields(cls) -> tuple[Field, ...]:
        """Return the fields above, less those that the library gives every configuration."""
        return tuple(field for field in fields(cls) if field.name in cls.__annotations__)

    def _check_types(self) -> None:
        """Check types, since a JSON file may hold anything in any place."""
        for field in self.own_fields():
            fits, kind = KINDS.get(type(field.default), (lambda _: True, ""))
            if not fits(getattr(self, field.name)):
                raise ValueError(f"{field.name} must be {kind}")
        if any(not isinstance(name, str) or not 0 < len(name) <= LONGEST_FINDING for name in self.finding_names):
            raise ValueError(f"finding_names must be texts of at most {LONGEST_FINDING} characters")
        limits = self.pixel_limits
        if limits is not None and (len(limits) != 2 or any(type(limit) is not int for limit in limits)):
            raise ValueError("pixel_limits must be two whole numbers")

    @property
    def num_head_findings(self) -> int:
        """Number of findings that the finding head predicts from the gaze states."""
        return len(self.finding_names) - len(self.usual_places)

    @property
    def finds_locally(self) -> bool:
        """Whether there is a head that says what a single token of the vision tower shows."""
        return self.num_glimpses > 0 or self.patch_finding_weight > 0

    @property
    def num_prompt_tokens(self) -> int:
        """How many gaze tokens a prompt holds: K where the pointer or the finding head is trained, else none."""
        return self.num_gaze_tokens if self.gaze_trained or self.findings_trained else 0

    @property
    def num_prompt_glimpses(self) -> int:
        """How many glimpses are shown behind a prompt at most: M where the pointer is trained, else none."""
        return self.num_glimpses if self.gaze_trained else 0

    @property
    def num_glimpse_tokens(self) -> int:
        """The most tokens of glimpses in a prompt, each with a beginning and an end."""
        return self.num_glimpses * (self.glimpse_side**2 + 2)

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any]) -> "GazeConfig":
        """Make it from a parsed JSON object, which anybody may have written.

        Raises:
            ValueError: no object, or a key that this version does not know.
        """
        if not isinstance(config_dict, Mapping):
            raise ValueError("the gaze configuration is no object")
        known = {field.name for field in cls.own_fields()}
        unknown = set(config_dict) - known - {"model_type", "transformers_version"}
        if unknown:
            raise ValueError(f"unknown gaze configuration keys: {', '.join(sorted(unknown))}; update GazeVLM")
        return cls(**{name: value for name, value in config_dict.items() if name in known})

    def own_values(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary of the fields above."""
        return {
            **{field.name: getattr(self, field.name) for field in self.own_fields()},
            "finding_names": list(self.finding_names),
            "known_questions": list(self.known_questions),
            "pixel_limits": None if self.pixel_limits is None else list(self.pixel_limits),
            "pointer_keys": self.pointer_keys.value,
            "glimpse_positions": self.glimpse_positions.value,
            "usual_places": [asdict(place) for place in self.usual_places],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return it as the library takes a section apart: `own_values`, and the version that it drops from every
        section."""
        return {**self.own_values(), "transformers_version": __version__}

    def __eq__(self, other: object) -> bool:
        """By the fields above: a load sets a dtype and an attention in every section, which mean nothing here."""
        return isinstance(other, GazeConfig) and self.own_values() == other.own_values()


class GazeVLMConfig(PretrainedConfig):
    """What a backbone's configuration gets beside its own: the section `gaze` of the file, `gaze_config` here, and the
    id of `<st>`. A family's class inherits from its backbone's configuration first, then from this; see `backbones`."""

    attribute_map = {"gaze_config": "gaze"}  # noqa: RUF012 (as the base class declares it)
    gaze: dict | PretrainedConfig | None = None
    gaze_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.gaze, PretrainedConfig):
            self.gaze = GazeConfig.from_dict(self.gaze or {})
        super().__post_init__(**kwargs)

    @classmethod
    def from_base(cls, base: PretrainedConfig, gaze: GazeConfig, gaze_token_id: int | None) -> "GazeVLMConfig":
        """Return the configuration of a plain backbone with gaze parts added."""
        values = base.to_dict()
        for key in ("model_type", "gaze", "gaze_token_id"):
            values.pop(key, None)
        return cls(**values, gaze=gaze, gaze_token_id=gaze_token_id)

    @property
    def token_pixels(self) -> int:
        """Pixels of the resized image under one image token."""
        return (self.vision_config.patch_size * self.vision_config.spatial_merge_size) ** 2
