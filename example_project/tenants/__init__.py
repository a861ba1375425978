"""The example as a site with tenants: who they are, and what ``public`` shows."""
