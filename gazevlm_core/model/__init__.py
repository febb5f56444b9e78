"""A Qwen2.5-VL with gaze tokens: configuration, pointer, losses, model, checkpoints and adapters.

Importing this room makes the library's Auto classes know `gazevlm`; so does every import of a module in it.
"""

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from gazevlm_core.model.configuration_gazevlm import GazeVLMConfig
from gazevlm_core.model.modeling_gazevlm import GazeVLM
from gazevlm_core.model.processing_gazevlm import GazeVLMProcessor

AutoConfig.register(GazeVLMConfig.model_type, GazeVLMConfig)
AutoModelForImageTextToText.register(GazeVLMConfig, GazeVLM)
AutoProcessor.register(GazeVLMConfig, GazeVLMProcessor)
