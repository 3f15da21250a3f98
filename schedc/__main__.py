"""`python -m schedc`, and the command `schedc`.

An unchanged `schedc check` is answered here, from disk, before the command line and the compiler are imported.
"""

import os
import sys


def main() -> None:
    """Run the command line and end the process with its exit status."""
    kept = None
    if sys.argv[1:2] == ["check"]:
        from schedc import verdicts

        kept = verdicts.entry(sys.argv[1:])
        if kept is not None:
            status = verdicts.answer(kept)
            if status is not None:
                # All is written; taking the interpreter apart would take as long again as the answer did.
                sys.stderr.flush()
                os._exit(status)
    from schedc.cli import run

    sys.exit(run(kept=kept))


if __name__ == "__main__":
    main()
