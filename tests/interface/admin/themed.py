"""A site whose admin wears another theme, in a process of its own: asks for every page once.

``python -m tests.interface.admin.themed unfold`` prints what came, as JSON: by page the status, and
whether the page was the theme's and ours. Our classes inherit from the theme's, as the guide says.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import django
from django.conf import settings

from tests import settings as plain


def main(theme: str) -> None:
    """Make the site, fill it, and ask."""
    facts = {name: value for name, value in vars(plain).items() if name.isupper()}
    apps = [theme, *facts.pop("INSTALLED_APPS")]
    settings.configure(**facts, INSTALLED_APPS=apps)
    django.setup()
    sys.stdout.write(json.dumps(visited(theme)))


def visited(theme: str) -> dict[str, Any]:
    """Return what each page answered."""
    from django.core.management import call_command

    from tests.interface.admin import scenes, shots
    from tests.interface.admin.conftest import logged_in, person

    derive(importlib.import_module(f"{theme}.admin").ModelAdmin)
    call_command("migrate", verbosity=0)
    scenes.define_workflows()
    client = logged_in(person("ana", is_superuser=True))
    client.raise_request_exception = False
    found = {}
    for name, path in shots.screens().items():
        answer = client.get(path)
        text = answer.content.decode()
        found[name] = [answer.status_code, f"/{theme}/" in text, 'class="cloaca' in text]
    return found


def derive(base: type) -> None:
    """Register our pages again, with the theme's own class behind them."""
    from django.contrib import admin

    for model, registered in list(admin.site._registry.items()):
        if model._meta.app_label == "cloaca_django":
            ours = type(registered)
            admin.site.unregister(model)
            admin.site.register(model, type(ours.__name__, (ours, base), {}))


if __name__ == "__main__":
    main(sys.argv[1])
