"""The paper's tables: image quality, synchronisation, efficiency."""
