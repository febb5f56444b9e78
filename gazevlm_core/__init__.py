"""The gaze-token model and everything about scanpaths: no gradio, no database.

Importing this package loads neither torch nor transformers; the rooms that need them import them themselves.
"""

__version__ = "0.1.0"
