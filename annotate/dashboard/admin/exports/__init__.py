"""The whole store out as one archive, and back."""
