"""The commands of the command line. Each imports its worker only when it runs, so that --help is quick."""
