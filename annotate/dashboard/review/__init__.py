"""One submission after the other, for reviewers: seen on its image, and judged."""
