"""``python -m tests.faults [PART] [OPTIONS]``, run by ``make faults``: commands while the machine fails.

``calls`` lets system calls fail, ``signals`` ends processes at random moments; without a name, both run. ``--help``
after a name lists its options.
"""

from __future__ import annotations

import importlib
import sys

PARTS = ("calls", "signals", "arguments")  # modules beside this one, each with main(arguments) -> exit code


def main(arguments: list[str]) -> int:
    """Run the named part, or all; 1 if any found a problem."""
    named = arguments[:1] if arguments and arguments[0] in PARTS else []
    codes = [importlib.import_module(f"tests.faults.{part}").main(arguments[len(named) :]) for part in named or PARTS]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
