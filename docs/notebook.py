"""elfs from Python, cell by cell: open it in an editor that knows ``# %%``, or paste it into a notebook."""

# %% Arrays alone: embeddings of any encoder in, rows to annotate out.
import numpy as np

import elfs

random = np.random.default_rng(0)
embeddings = random.normal(size=(300, 8)) + 6 * np.repeat(np.eye(8)[:3], 100, axis=0)
picked = elfs.select(embeddings, 30)

# %% The hardest part counts more where difficulty is known: the loss of a model of your own, say.
loss = random.exponential(size=300)
picked_by_loss = elfs.select(embeddings, 0.1, hardness=loss, seed=1)

# %% Scores of a training run of your own: logits of each epoch, and what the model was trained on.
logits, labels = random.normal(size=(10, 300, 3)), np.repeat(np.arange(3), 100)
scores = elfs.scores(logits, labels)
hardest = np.argsort(scores["aum"])[:10]  # elfs.catalog.SCORES says which end is hard

# %% Pictures: the same chain as `elfs run`; a folder of your own in place of the drawn ones.
first = elfs.run("synthetic:classes=3,images=90,test=0,size=16", budget=15, clusters=3, recipe="ensemble")
first  # a preview

# %% What the workspace holds.
workspace = elfs.open_workspace("elfs-workspace")
hardness = workspace.scores["el2n"]
pictures = workspace.images(first.indices[:5], kind="pil")

# %% One stage with other settings, and another list.
elfs.cluster(clusters=4)
elfs.label()
elfs.dynamics(recipe="ensemble")
elfs.score()
second = elfs.open_workspace().select(10, exclude="selections/aum-15", name="second")
workspace = elfs.open_workspace()
workspace  # a preview: stages, and the selection made last
