"""The paper's tables: image quality, synchronisation, efficiency."""

# What `synctalk evaluate --without` can leave out; see `evaluation.ablation`.
PARTS = ("encoder", "expressions", "stabilizer", "portrait", "semantic-weighting")
