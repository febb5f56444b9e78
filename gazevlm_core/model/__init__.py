"""A Qwen2.5-VL with gaze tokens: configuration, pointer, losses, model, checkpoints and adapters."""
