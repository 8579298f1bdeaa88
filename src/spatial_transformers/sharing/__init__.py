"""Modules as folders of the Hugging Face Hub: config, weights and a card; nothing is unpickled."""
