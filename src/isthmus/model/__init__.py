"""The words: frozen values that are valid or do not exist, and nothing that acts."""
