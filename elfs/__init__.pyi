from elfs.api.arrays import scores as scores
from elfs.api.arrays import select as select
from elfs.api.verbs import cluster as cluster
from elfs.api.verbs import dynamics as dynamics
from elfs.api.verbs import embed as embed
from elfs.api.verbs import label as label
from elfs.api.verbs import run as run
from elfs.api.verbs import score as score
from elfs.api.workspace import open_workspace as open_workspace

__version__: str
