"""Commands: arguments, signals and what is printed. The work is done below."""
