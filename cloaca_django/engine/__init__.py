"""The stages of a run, one file each: submission, claiming, execution, settlement, results.

Beside the path: recovery, operations, retention. ``turn`` batches the stages into transactions;
``worker`` runs turns, heartbeats and wake-ups on threads.
"""
