"""A site that uses the package: daily weather, from file to report."""
