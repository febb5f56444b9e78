"""What is asked on the page: the model, the question and the settings."""
