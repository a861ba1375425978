"""What the site of the tests keeps in ``public``: its tenants and their hosts."""
