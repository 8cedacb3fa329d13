"""One experiment end to end: recipe, data, training, evaluation, run directory, pictures."""
