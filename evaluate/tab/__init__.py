"""The Evaluate tab: a model's path beside a reader's on one image, and reports."""
