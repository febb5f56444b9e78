"""A vision-language model with gaze tokens: configuration, pointer, losses, model, checkpoints and adapters.

Importing this makes the library's Auto classes know our models; so does every import of a module in it.
"""

import gazevlm_core.model.backbones  # noqa: F401 (registers them)
