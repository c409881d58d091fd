"""What an import costs, beside the limit and the alternatives: `make bench`."""
