"""Contract classes which every implementation of a seam passes."""
