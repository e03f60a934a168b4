"""Studies: many short trainings of one recipe with other settings, and an honest comparison of the best."""
