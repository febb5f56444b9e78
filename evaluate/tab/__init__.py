"""The Evaluate tab: reports with their tables and curves, and a model's path beside a reader's on one image."""
