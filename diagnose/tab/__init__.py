"""The Diagnose tab: an image, a question and settings in; scanpath, words and charts out."""
