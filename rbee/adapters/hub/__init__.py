"""Models from a Hugging Face hub. Importing ``models``, ``client`` or ``fetch`` takes 0.4 s: huggingface_hub."""
