"""What admins do: images in, tasks, exports out and back, the audit log."""
