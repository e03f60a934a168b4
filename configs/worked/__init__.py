"""The shipped worked examples: one YAML file each, for `lenumba explain`."""
