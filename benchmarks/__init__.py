"""Measures this project beside its peers, on one machine, in one interleaved run."""
