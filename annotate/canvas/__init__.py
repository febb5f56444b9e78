"""The canvas on which an image is annotated, as a Gradio component."""
