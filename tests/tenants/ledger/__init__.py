"""What each tenant of the tests has: rows that say whose they are, and who makes them."""
