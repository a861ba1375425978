"""A site for real ``cloaca_worker`` processes: its settings, its workflows, and how to run one."""
