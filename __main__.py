"""Where a process begins: the command `lenumba`, and ``python -m lenumba``."""

import signal

# Until the command line is there, which answers in one line, Ctrl-C ends the process without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    """Run the command line."""
    from lenumba.cli import main

    main(prog_name="lenumba")


if __name__ == "__main__":
    main()
