"""The page as a program of Gradio."""
