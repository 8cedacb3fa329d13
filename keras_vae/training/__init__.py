"""What happens between data and weights: checks, the order of the data, the step, its guard, averaged weights."""
