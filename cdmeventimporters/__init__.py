"""Importers of bioinformatics tool output into Delta tables."""
