"""The six stages. They meet only through artifacts in the workspace."""
