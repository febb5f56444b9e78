"""A vision-language model with gaze tokens: configuration, pointer, losses, model, checkpoints and adapters.

Importing this makes the library's Auto classes know our models; so does every import of a module in it.
"""

from gazevlm_core.model.bits import import_bitsandbytes

import_bitsandbytes()  # before transformers or PEFT does, which takes its time for it

import gazevlm_core.model.backbones  # noqa: E402, F401 (registers them)
