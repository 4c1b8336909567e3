"""A mixer with its trained weights as a Hugging Face model folder.

Covers choosing the trial, the files of the folder and the model card. Everything is made of files
and records: no candidate code is executed here, and neither torch nor transformers is imported.
What is in `code/` is no part of the engine: it goes into the folder as it is, and runs where
somebody loads it.
"""
