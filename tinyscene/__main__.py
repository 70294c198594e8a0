"""``tinyscene`` and ``python -m tinyscene``: the command line as a process, with its signal handlers."""

from __future__ import annotations

import sys

from . import stop_signals


def main() -> None:
    """Run the command line and exit with its code."""
    stop_signals.install()
    try:
        from .command_line import main as run

        code = run()
    finally:
        stop_signals.finish()
    sys.exit(code)


if __name__ == "__main__":
    main()
