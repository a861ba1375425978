"""Settings of the benchmark's site; the environment names the database and the apps."""

import os
from urllib.parse import urlsplit

_url = urlsplit(os.environ.get("BENCH_DATABASE_URL", "postgresql://postgres@127.0.0.1/postgres"))

SECRET_KEY = "only for measuring"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    *filter(None, os.environ.get("BENCH_APPS", "").split(",")),
]
_POSTGRESQL = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": _url.hostname,
    "PORT": _url.port,
    "USER": _url.username,
    "NAME": _url.path.removeprefix("/"),
    "CONN_MAX_AGE": None,
}
_SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": _url.path.removeprefix("/"),
    "CONN_MAX_AGE": None,
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "pragma journal_mode = wal; pragma synchronous = full",
    },
}
DATABASES = {"default": _SQLITE if _url.scheme == "sqlite" else _POSTGRESQL}
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
Q_CLUSTER = {
    "name": "bench",
    "orm": "default",
    "workers": 2,
    "poll": float(os.environ.get("BENCH_Q_POLL", "0.2")),
    "bulk": int(os.environ.get("BENCH_Q_BULK", "1")),
    "queue_limit": 200,
    "timeout": 60,
    "retry": 120,
    "save_limit": 0,
    "catch_up": False,
    "log_level": "ERROR",
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
}
