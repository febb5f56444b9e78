"""Who asks, in the Adapt tab."""
