#!/usr/bin/env python
"""Django's command line, on the example site."""

import os
import sys


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise ImportError(
            "Django is not installed here. `make demo` makes an environment that has it."
        ) from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
