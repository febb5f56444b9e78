"""The experiment: does the order of gaze help? None, random, shuffled and original gaze with everything else equal."""
