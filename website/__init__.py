"""The documentation site: the pages of the repository, and references made from the source, as one site of HTML."""
