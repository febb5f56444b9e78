"""Becomes the training process once the app has noted its id: nothing ever trains that the app could not find again.

    python -I -S starter.py COMMAND ARGUMENT ...

Waits for one line on its standard input. The app's death closes that, and then nothing is started.
"""

import os
import sys

GO = b"go\n"


def main() -> None:
    """Wait for the line, then be replaced by the command, with an empty standard input."""
    if os.read(0, len(GO)) != GO:
        raise SystemExit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
