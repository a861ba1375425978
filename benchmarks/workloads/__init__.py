"""One file per workload: ``TITLE``, ``FIGURES`` (report rows), ``measure(bench)`` (one record)."""
