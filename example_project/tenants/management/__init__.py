"""Commands of the example as a site with tenants."""
