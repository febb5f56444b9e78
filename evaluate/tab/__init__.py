"""The Evaluate tab: a report as tables and curves, and a model's path beside a reader's on one image."""
