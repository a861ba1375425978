"""Real workers under all faults at once for minutes or hours, and a check of every promise.

``python -m tests.soak --help`` says how to start one. It is an app, too: of the site under test.
"""
