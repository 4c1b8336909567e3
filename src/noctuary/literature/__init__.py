"""What others have published: the shipped snapshot, and Semantic Scholar where reachable."""
