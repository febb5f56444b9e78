"""The one image canvas: zoom, pan, window and level, scanpath replay, clicks. Knows no model and no database."""
