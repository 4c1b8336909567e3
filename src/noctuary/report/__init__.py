"""For people: a cycle in words, and its learning curves as a picture."""
