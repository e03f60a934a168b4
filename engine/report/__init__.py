"""What a run folder shows to people: plots, a page to play with, TensorBoard's event files."""
